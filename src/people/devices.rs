//! One's own devices.

use super::{People, PeopleError};
use crate::event::Device;
use crate::ids::UserId;
use crate::store::DeviceRecord;

impl People {
    /// Registers one of one's own devices. Of too many, those go that were registered longest ago.
    pub async fn register(&self, device: DeviceRecord) -> Result<Device, PeopleError> {
        let device = DeviceRecord { last_seen: self.clock.now(), ..device };
        self.store.save_device(device.clone()).await?;
        // Of an account that was disabled meanwhile nothing more is kept.
        if self.is_disabled(device.user) {
            self.store.remove_device(device.user, device.device_id).await?;
            return Err(PeopleError::Disabled);
        }
        let mut known = self.store.devices(device.user).await?;
        known.retain(|other| other.device_id != device.device_id);
        known.sort_by_key(|other| std::cmp::Reverse(other.last_seen));
        for old in known.split_off(known.len().min(self.limits.devices_per_user.saturating_sub(1)))
        {
            self.store.remove_device(device.user, old.device_id).await?;
        }
        Ok(shown(device, true))
    }

    /// One's own devices; nothing is pushed to those of a disabled account.
    pub async fn devices(&self, me: UserId) -> Result<Vec<Device>, PeopleError> {
        let enabled = self.store.user(me).await?.is_some_and(|account| !account.disabled);
        let devices = self.store.devices(me).await?;
        Ok(devices.into_iter().map(|device| shown(device, enabled)).collect())
    }

    /// Forgets one of one's own devices.
    pub async fn unregister(&self, me: UserId, device_id: String) -> Result<(), PeopleError> {
        Ok(self.store.remove_device(me, device_id).await?)
    }
}

fn shown(device: DeviceRecord, enabled: bool) -> Device {
    Device {
        device_id: device.device_id,
        platform: device.platform,
        name: device.name,
        app_version: device.app_version,
        has_push: enabled && device.push_token.is_some(),
        has_voip: enabled && device.voip_token.is_some(),
        last_seen: device.last_seen,
    }
}

#[cfg(test)]
mod tests {
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
}
