//! Who may do what an operator may: the application's backend by its key or a token of the role `service`, and admins.

use super::*;

async fn put(api: &Api, authorization: &str) -> (u16, String) {
    let request = Request::put("/api/users/42").header(header::AUTHORIZATION, authorization);
    let body = json!({ "uid": "u-42", "name": "Grace" }).to_string().into_bytes();
    let answer = api.send(with_body(request, ("application/json".into(), body))).await;
    let value: Value = serde_json::from_slice(&answer.body).unwrap();
    (answer.status.as_u16(), value["reason"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn accounts_are_made_by_services_admins_and_the_api_key_alone() {
    let key = "an API key of the application's backend";
    let api = Api::with(|config| config.auth.api_key = crate::config::Secret::new(key)).await;
    for (role, status, reason) in [
        (Role::User, 403, "FORBIDDEN"),
        (Role::Moderator, 403, "FORBIDDEN"),
        (Role::Service, 200, ""),
        (Role::Admin, 200, ""),
    ] {
        assert_eq!(put(&api, &api.token(1, role)).await, (status, reason.into()), "{role:?}");
    }
    let shorter = &key[..key.len() - 1];
    for (authorization, status, reason) in [
        (format!("ApiKey {key}"), 200, ""),
        (format!("apikey  {key} "), 200, ""),
        (format!("ApiKey {shorter}"), 401, "TOKEN_INVALID"),
        (format!("ApiKey {key}x"), 401, "TOKEN_INVALID"),
        ("ApiKey ".into(), 401, "TOKEN_INVALID"),
        (format!("Bearer {key}"), 401, "TOKEN_INVALID"),
        (key.into(), 401, ""),
    ] {
        let (seen, why) = put(&api, &authorization).await;
        assert_eq!(seen, status, "{authorization}: {why}");
        assert!(reason.is_empty() || reason == why, "{authorization}: {why}");
    }
}

#[tokio::test]
async fn without_an_api_key_none_is_right() {
    let api = Api::new().await;
    for key in ["", " ", "undefined", "null"] {
        assert_eq!(
            put(&api, &format!("ApiKey {key}")).await,
            (401, "TOKEN_INVALID".into()),
            "{key:?}"
        );
    }
}

#[tokio::test]
async fn a_claimed_identity_must_be_that_of_the_token() {
    let api = Api::new().await;
    for (claim, status) in
        [("1", 200), (" 1 ", 200), ("2", 403), ("-1", 403), ("x", 403), ("", 403)]
    {
        let request =
            Request::get("/api/me").header(header::AUTHORIZATION, api.token(1, Role::User));
        let answer =
            api.send(request.header("x-user-id", claim).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{claim:?}");
    }
}

#[tokio::test]
async fn a_token_of_somebody_whose_account_was_closed_lets_nobody_in() {
    let api = Api::new().await;
    let gone =
        Request::delete("/api/users/3").header(header::AUTHORIZATION, api.token(1, Role::Admin));
    assert_eq!(api.send(gone.body(Body::empty()).unwrap()).await.status, StatusCode::ACCEPTED);
    let token = api.token(3, Role::User);
    let mut wrong = Vec::new();
    for operation in api.operations.iter().filter(|it| !PUBLIC.contains(&it.path.as_str())) {
        let request = api.request(operation, &nothing).header(header::AUTHORIZATION, &token);
        let answer = api.send(with_body(request, good_body(&api, operation))).await;
        let named = format!("{} {}", operation.method, operation.path);
        if ![401, 403].contains(&answer.status.as_u16()) && operation.path != "/api/admin/dev-token"
        {
            wrong.push(format!("{named}: {}", answer.status));
        }
        wrong.extend(
            api.faults(operation, &answer).into_iter().map(|fault| format!("{named}: {fault}")),
        );
    }
    fail_with(&wrong);
}

#[tokio::test]
async fn webhooks_are_for_operators_alone() {
    let api = Api::new().await;
    let webhooks = |operation: &&Operation| operation.path.starts_with("/api/admin/webhooks");
    let operations: Vec<_> = api.operations.iter().filter(webhooks).collect();
    assert_eq!(operations.len(), 4);
    for operation in operations {
        for (role, allowed) in [
            (Role::User, false),
            (Role::Moderator, false),
            (Role::Admin, true),
            (Role::Service, true),
        ] {
            let request = api.request(operation, &nothing);
            let request = request.header(header::AUTHORIZATION, api.token(1, role));
            let answer = api.send(with_body(request, good_body(&api, operation))).await;
            let refused = answer.status == StatusCode::FORBIDDEN;
            assert_ne!(refused, allowed, "{} for {role:?}: {}", operation.path, answer.status);
        }
    }
}
