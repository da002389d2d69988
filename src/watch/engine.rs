//! Notices that Docker was restarted: what runs in it comes up then in no order, and what should is
//! not always what does.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use crate::engine::Engine;

/// Between two attempts to reach it: at first, and at most.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(10);

/// Tells each time when Docker answers again after it did not. Never ends.
pub async fn restarts(project: String, told: UnboundedSender<()>) {
    let mut away = false;
    let mut pause = FIRST;
    loop {
        if let Ok(engine) = Engine::connect().await {
            if away {
                let _ = told.send(());
            }
            pause = FIRST;
            // What it says is not of interest; that it ends, is.
            let mut events = pin!(engine.events(&project, Timestamp::now().as_second()));
            while let Some(Ok(_)) = events.next().await {}
        }
        away = true;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}
