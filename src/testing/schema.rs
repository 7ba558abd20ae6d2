//! The JSON schemas of the two descriptions, as a test uses them: whether a value is as they say, what a valid value looks like, and
//! which values are not valid. It knows the keywords that the descriptions use and panics at any other.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// A document with schemas under `/components/schemas`.
pub(crate) struct Schemas {
    document: Value,
    known: Map<String, Value>,
}

/// Keywords that say nothing about which values are valid, or nothing that is checked here.
const NOTES: [&str; 8] = [
    "description",
    "title",
    "example",
    "examples",
    "default",
    "deprecated",
    "discriminator",
    "readOnly",
];

impl Schemas {
    pub(crate) fn new(document: Value) -> Self {
        Self { document, known: Map::new() }
    }

    pub(crate) fn document(&self) -> &Value {
        &self.document
    }

    /// What a member of this name has in samples.
    pub(crate) fn know(&mut self, member: &str, value: Value) {
        self.known.insert(member.to_owned(), value);
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let Some(to) = schema["$ref"].as_str() else { return schema };
        let found = self.document.pointer(to.trim_start_matches('#'));
        self.resolve(found.unwrap_or_else(|| panic!("{to} leads nowhere")))
    }

    /// What is wrong with a value; members that the schema does not name are wrong, too, since no reader of it knows them.
    pub(crate) fn faults(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(schema, value, "", &mut faults, true);
        faults
    }

    /// Notes what is wrong; gives the members that the schema names.
    fn check(
        &self,
        schema: &Value,
        value: &Value,
        at: &str,
        faults: &mut Vec<String>,
        closed: bool,
    ) -> BTreeSet<String> {
        let schema = self.resolve(schema);
        let mut named = BTreeSet::new();
        let Some(keywords) = schema.as_object() else { return named };
        // A schema without members of its own says nothing about which there are.
        let mut open = !keywords.contains_key("properties");
        for (keyword, wanted) in keywords {
            match keyword.as_str() {
                "type" => {
                    let types = wanted.as_array().map_or(vec![wanted], |all| all.iter().collect());
                    if !types.iter().any(|wanted| is(value, wanted.as_str().unwrap())) {
                        faults.push(format!("{at}: {value} is no {wanted}"));
                    }
                }
                "enum" if !wanted.as_array().unwrap().contains(value) => {
                    faults.push(format!("{at}: {value} is none of {wanted}"));
                }
                "const" if wanted != value => faults.push(format!("{at}: {value} is not {wanted}")),
                "required" => {
                    let missing = |name: &&Value| {
                        value.is_object() && value.get(name.as_str().unwrap()).is_none()
                    };
                    faults.extend(
                        wanted
                            .as_array()
                            .unwrap()
                            .iter()
                            .filter(missing)
                            .map(|name| format!("{at}: {name} is missing")),
                    );
                }
                "properties" => {
                    for (name, schema) in wanted.as_object().unwrap() {
                        named.insert(name.clone());
                        if let Some(value) = value.get(name) {
                            self.check(schema, value, &format!("{at}/{name}"), faults, true);
                        }
                    }
                }
                "items" => {
                    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(wanted, value, &format!("{at}/{index}"), faults, true);
                    }
                }
                "allOf" => {
                    for part in wanted.as_array().unwrap() {
                        let part = self.check(part, value, at, faults, false);
                        open &= part.is_empty();
                        named.extend(part);
                    }
                }
                "oneOf" | "anyOf" => {
                    let tried = wanted.as_array().unwrap().iter().map(|part| {
                        let mut faults = Vec::new();
                        let named = self.check(part, value, at, &mut faults, closed);
                        (faults, named)
                    });
                    let mut tried: Vec<_> = tried.collect();
                    tried.sort_by_key(|(faults, _)| faults.len());
                    let (best, part) = tried.swap_remove(0);
                    faults.extend(best);
                    named.extend(part);
                }
                "additionalProperties" | "propertyNames" => open = true,
                "minimum" if value.as_f64().is_some_and(|it| it < wanted.as_f64().unwrap()) => {
                    faults.push(format!("{at}: {value} is less than {wanted}"));
                }
                "maximum" if value.as_f64().is_some_and(|it| it > wanted.as_f64().unwrap()) => {
                    faults.push(format!("{at}: {value} is more than {wanted}"));
                }
                "format" => {
                    if let (Some(text), Some(format)) = (value.as_str(), wanted.as_str())
                        && !is_format(text, format)
                    {
                        faults.push(format!("{at}: {value} is no {format}"));
                    }
                }
                "enum" | "const" | "minimum" | "maximum" | "maxLength" | "minLength"
                | "maxItems" | "minItems" | "pattern" => {}
                note if NOTES.contains(&note) || note.starts_with("x-") => {}
                other => panic!("{at}: the keyword {other} is not known here"),
            }
        }
        if closed && !open {
            let members = value.as_object().into_iter().flatten().map(|(name, _)| name);
            faults.extend(
                members
                    .filter(|name| !named.contains(*name))
                    .map(|name| format!("{at}: {name} is not described")),
            );
        }
        named
    }

    /// A valid value, with every member or only with those that must be there.
    pub(crate) fn sample(&self, schema: &Value, whole: bool) -> Value {
        let schema = self.resolve(schema);
        if let Some(value) = schema.get("example").or_else(|| schema.get("const")) {
            return value.clone();
        }
        if let Some(values) = schema["enum"].as_array() {
            return values[0].clone();
        }
        if let Some(parts) = schema["allOf"].as_array() {
            let mut members = Map::new();
            for part in parts {
                members.extend(self.sample(part, whole).as_object().cloned().unwrap_or_default());
            }
            return Value::Object(members);
        }
        if let Some(parts) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
            let part = parts.iter().find(|part| part["type"] != "null").unwrap();
            return self.sample(part, whole);
        }
        let kind = schema["type"].as_str().or_else(|| {
            schema["type"].as_array().and_then(|types| {
                types.iter().find_map(|it| it.as_str().filter(|it| *it != "null"))
            })
        });
        match kind {
            Some("object") => self.sample_object(schema, whole),
            Some("array") => json!([self.sample(&schema["items"], whole)]),
            Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
            Some("boolean") => json!(true),
            Some("string") => match schema["format"].as_str() {
                Some("uuid") => json!("0190a0b0-0000-7000-8000-000000000001"),
                Some("date-time") => json!("2030-01-01T00:00:00.000Z"),
                _ => json!("text"),
            },
            _ => json!({}),
        }
    }

    fn sample_object(&self, schema: &Value, whole: bool) -> Value {
        let needed = |name: &str| {
            schema["required"].as_array().is_some_and(|all| all.iter().any(|it| it == name))
        };
        let sample = |name: &str, schema| match self.known.get(name) {
            Some(known) => known.clone(),
            None => self.sample(schema, whole),
        };
        let members = schema["properties"].as_object().into_iter().flatten();
        let members = members.filter(|(name, _)| whole || needed(name));
        Value::Object(members.map(|(name, schema)| (name.clone(), sample(name, schema))).collect())
    }

    /// Values that differ from a whole valid one in one member, which has what it cannot be or is of a size that nobody sends; and
    /// values that are none at all.
    pub(crate) fn hostile(&self, schema: &Value) -> Vec<Value> {
        let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
        let strange = [
            Value::Null,
            json!(true),
            json!(-1),
            json!(0),
            json!(1.5),
            json!(u64::MAX),
            json!(1e300),
            json!(""),
            json!("\u{0}"),
            json!("🦀".repeat(200)),
            json!("x".repeat(40_000)),
            json!([]),
            json!([null]),
            json!(vec![1; 2000]),
            json!(["x", {}, [[]]]),
            json!({}),
            json!({ "a": { "b": null } }),
            deep,
        ];
        let whole = self.sample(schema, true);
        let mut values: Vec<Value> = strange.to_vec();
        values.push(self.sample(schema, false));
        let mut unknown = whole.clone();
        if let Some(members) = unknown.as_object_mut() {
            members.insert("unknownMember".into(), json!({ "of": "a later version" }));
        }
        values.push(unknown);
        for name in whole.as_object().into_iter().flatten().map(|(name, _)| name) {
            let with = |value: Option<&Value>, among: &Value| {
                let mut members = among.as_object().cloned().unwrap_or_default();
                match value {
                    Some(value) => members.insert(name.clone(), value.clone()),
                    None => members.remove(name),
                };
                Value::Object(members)
            };
            values.push(with(None, &whole));
            let few = self.sample(schema, false);
            values.extend(
                strange
                    .iter()
                    .flat_map(|value| [with(Some(value), &whole), with(Some(value), &few)]),
            );
        }
        values.push(whole);
        values
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("the type {other} is not known here"),
    }
}

fn is_format(text: &str, format: &str) -> bool {
    match format {
        "uuid" => uuid::Uuid::parse_str(text).is_ok(),
        "date-time" => chrono::DateTime::parse_from_rfc3339(text).is_ok(),
        _ => true,
    }
}

#[test]
fn a_value_that_is_not_as_its_schema_says_is_found() {
    let schemas = Schemas::new(json!({ "components": { "schemas": {
        "Name": { "type": "string", "maxLength": 3 },
        "Person": { "allOf": [
            { "type": "object", "required": ["name"], "properties": { "name": { "$ref": "#/components/schemas/Name" } } },
            { "type": "object", "properties": { "age": { "oneOf": [{ "type": "null" }, { "type": "integer", "minimum": 0 }] } } },
        ] },
    } } }));
    let person = json!({ "$ref": "#/components/schemas/Person" });
    assert_eq!(schemas.faults(&person, &json!({ "name": "Ada", "age": 36 })), Vec::<String>::new());
    assert_eq!(
        schemas.faults(&person, &json!({ "name": "Ada", "age": null })),
        Vec::<String>::new()
    );
    for wrong in [
        json!({}),
        json!([]),
        json!({ "name": 1 }),
        json!({ "name": "Ada", "age": -1 }),
        json!({ "name": "Ada", "age": "36" }),
        json!({ "name": "Ada", "extra": 1 }),
    ] {
        assert!(!schemas.faults(&person, &wrong).is_empty(), "{wrong}");
    }
    assert_eq!(schemas.sample(&person, true), json!({ "name": "text", "age": 0 }));
    assert_eq!(schemas.sample(&person, false), json!({ "name": "text" }));
}
