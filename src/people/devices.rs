//! One's own devices.

#[cfg(test)]
mod tests;

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
