//! What several checks say of a service.

use std::time::Duration;

use crate::diagnosis::scene::Scene;
use crate::engine::containers::Container;

/// How long ago its process was started.
pub fn age(scene: &Scene, container: &Container) -> Duration {
    container
        .started_at
        .and_then(|started| Duration::try_from(scene.now.duration_since(started)).ok())
        .unwrap_or_default()
}

/// Its age, where it was started so short a while ago that it may not work yet.
pub fn young(scene: &Scene, container: &Container) -> Option<Duration> {
    let within = scene
        .context
        .stack
        .service(&container.service)
        .map_or(Duration::from_secs(60), |service| service.ready_within);
    let age = age(scene, container);
    (age < within).then_some(age)
}
