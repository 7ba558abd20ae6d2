use super::*;
use crate::config::Config;
use crate::testing::World;

async fn known(dev: bool, change: impl FnOnce(&mut Config), host: &str) -> bool {
    let world = if dev { World::dev(change).await } else { World::new(change).await };
    is_known(&world.app, host)
}

#[tokio::test]
async fn in_production_any_name_is_known_until_some_are_listed() {
    for host in ["chat.example", "127.0.0.1:3001", "evil.example"] {
        assert!(known(false, |_| (), host).await, "{host}");
    }
    let listed = |config: &mut Config| {
        config.server.hosts = ["Chat.example", "192.0.2.7", "2001:db8::7"].into_iter().collect();
    };
    for host in
        ["chat.example", "CHAT.EXAMPLE:443", "chat.example.", "192.0.2.7:80", "[2001:db8::7]:80"]
    {
        assert!(known(false, listed, host).await, "{host}");
    }
    for host in
        ["evil.example", "chat.example.evil", "localhost", "", "192.0.2.70", "chat.example:x:y"]
    {
        assert!(!known(false, listed, host).await, "{host}");
    }
}

#[tokio::test]
async fn for_development_only_names_of_this_machine_are_known() {
    let here = |config: &mut Config| config.server.host = "127.0.0.1".into();
    for host in ["localhost:3001", "127.0.0.1", "[::1]:3001"] {
        assert!(known(true, here, host).await, "{host}");
    }
    for host in
        ["evil.example", "127.0.0.1.evil.example", "10.0.0.7:3001", "localhost.evil.example"]
    {
        assert!(!known(true, here, host).await, "{host}");
    }
    let everywhere = |config: &mut Config| config.server.host = "0.0.0.0".into();
    assert!(known(true, everywhere, "10.0.0.7:3001").await, "an address is no foreign name");
    assert!(!known(true, everywhere, "evil.example:3001").await);
}
