use std::time::Duration;

use crate::clock::Timestamp;
use crate::event::Platform;
use crate::store::DeviceRecord;
use crate::testing::{World, person};

#[tokio::test]
async fn of_too_many_devices_those_go_that_were_registered_longest_ago() {
    let world = World::new(|config| config.limits.devices_per_user = 3).await;
    let _ada = world.connect(person(1)).await;
    let _ben = world.connect(person(2)).await;
    let register = async |user: i64, name: &str| {
        world.clock.advance(Duration::from_secs(1));
        let device = DeviceRecord {
            user: person(user),
            device_id: name.to_owned(),
            platform: Platform::Web,
            name: None,
            app_version: None,
            push_token: None,
            voip_token: None,
            last_seen: Timestamp::default(),
        };
        world.app.people.register(device).await.unwrap();
    };
    register(2, "other").await;
    for name in ["d", "c", "b", "d", "a", "e"] {
        register(1, name).await;
    }
    let known = world.app.store.devices(person(1)).await.unwrap();
    let names: Vec<&str> = known.iter().map(|it| it.device_id.as_str()).collect();
    assert_eq!(names, ["a", "d", "e"]);
    assert_eq!(world.app.people.devices(person(2)).await.unwrap().len(), 1);
}
