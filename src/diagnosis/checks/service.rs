//! What several checks say of a service.

use std::time::Duration;

use crate::diagnosis::scene::Scene;
use crate::engine::containers::{Container, Health};

/// How long its process has lived, if it was ever started.
pub fn uptime(scene: &Scene, container: &Container) -> Option<Duration> {
    container.started_at.map(|started| scene.since(started))
}

/// The same, with nothing for one that was not.
pub fn age(scene: &Scene, container: &Container) -> Duration {
    uptime(scene, container).unwrap_or_default()
}

/// Its age, where it was started so short a while ago that it may not work yet: its health check
/// has not passed once.
pub fn young(scene: &Scene, container: &Container) -> Option<Duration> {
    let within = scene
        .context
        .stack
        .service(&container.service)
        .map_or(Duration::from_secs(60), |service| service.ready_within);
    let age = age(scene, container);
    let unproved = matches!(container.health, Health::Starting | Health::None);
    (unproved && age < within).then_some(age)
}
