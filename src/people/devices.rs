//! One's own devices.

use super::{People, PeopleError};
use crate::event::Device;
use crate::ids::UserId;
use crate::store::DeviceRecord;

impl People {
    /// Registers one of one's own devices.
    pub async fn register(&self, device: DeviceRecord) -> Result<Device, PeopleError> {
        let device = DeviceRecord { last_seen: self.clock.now(), ..device };
        self.store.save_device(device.clone()).await?;
        Ok(shown(device))
    }

    /// One's own devices.
    pub async fn devices(&self, me: UserId) -> Result<Vec<Device>, PeopleError> {
        Ok(self.store.devices(me).await?.into_iter().map(shown).collect())
    }

    /// Forgets one of one's own devices.
    pub async fn unregister(&self, me: UserId, device_id: String) -> Result<(), PeopleError> {
        Ok(self.store.remove_device(me, device_id).await?)
    }
}

fn shown(device: DeviceRecord) -> Device {
    Device {
        device_id: device.device_id,
        platform: device.platform,
        name: device.name,
        app_version: device.app_version,
        has_push: device.push_token.is_some(),
        has_voip: device.voip_token.is_some(),
        last_seen: device.last_seen,
    }
}
