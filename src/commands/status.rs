//! `ooy status`.

use std::time::Duration;

use super::{Failure, Outcome, block, context};
use crate::cli::Status as Arguments;
use crate::deployment::places::Places;
use crate::engine::containers::State;
use crate::host::disk;
use crate::lifecycle::status::{self, ServiceStatus, Status};
use crate::ui::table::{self, Side};
use crate::ui::{Paint, Ui, human};

/// Time between two tables with --watch.
const EVERY: Duration = Duration::from_secs(2);

pub fn run(ui: &Ui, places: &Places, arguments: &Arguments) -> Outcome {
    let context = context(ui, places, "status")?;
    block(async {
        let look = || async {
            status::status(&context, &arguments.services)
                .await
                .map_err(Failure::from)
        };
        let mut previous: Option<Status> = None;
        loop {
            let now = look().await?;
            if ui.json {
                ui.json(&now)?;
            } else {
                if arguments.watch && ui.live {
                    // Home and clear below: no flicker, and no scrollback of old tables.
                    ui.raw("\u{1b}[H\u{1b}[J")?;
                }
                show(ui, &now, previous.as_ref(), &context.command("diagnose"))?;
            }
            ui.flush()?;
            if !arguments.watch {
                return Ok(u8::from(now.ready() < now.services.len()));
            }
            previous = Some(now);
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = tokio::signal::ctrl_c() => return Err(Failure::Interrupted),
            }
        }
    })
}

fn show(ui: &Ui, status: &Status, previous: Option<&Status>, why: &str) -> Result<(), Failure> {
    let sides = [
        Side::Left,
        Side::Left,
        Side::Left,
        Side::Left,
        Side::Left,
        Side::Right,
        Side::Right,
        Side::Right,
        Side::Right,
        Side::Left,
    ];
    let mut rows = vec![
        [
            "SERVICE", "STATE", "READY", "IMAGE", "UP", "RESTARTS", "CPU", "MEM", "LOG", "",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    rows.extend(
        status
            .services
            .iter()
            .map(|service| row(service, status, previous)),
    );
    for (index, line) in table::lines(&sides, &rows).iter().enumerate() {
        let service = index
            .checked_sub(1)
            .and_then(|index| status.services.get(index));
        let line = match service {
            None => ui.paint_out(Paint::Dim, line),
            Some(service) => mark(ui, line, service),
        };
        ui.out(&line)?;
    }
    let ready = status.ready();
    let total = status.services.len();
    ui.out("")?;
    let mut last = format!("{ready} of {total} ready · project {}", status.project);
    if ready < total {
        last = format!("{last} · why: {why}");
    }
    ui.out(&last)?;
    Ok(())
}

fn mark(ui: &Ui, line: &str, service: &ServiceStatus) -> String {
    let (sign, paint) = sign(service);
    // Only the sign is coloured: the columns are measured without colours.
    line.replacen(sign, &ui.paint_out(paint, sign), 1)
}

fn sign(service: &ServiceStatus) -> (&'static str, Paint) {
    if service.ready {
        ("✓", Paint::Good)
    } else if service.state == State::Running {
        ("!", Paint::Warn)
    } else {
        ("✗", Paint::Bad)
    }
}

fn row(service: &ServiceStatus, status: &Status, previous: Option<&Status>) -> Vec<String> {
    let nothing = || "–".to_owned();
    let running = service.state == State::Running;
    let lived = service
        .started_at
        .map(|started| Duration::try_from(status.at.duration_since(started)).unwrap_or_default());
    vec![
        service.service.clone(),
        match (service.state, service.exit_code) {
            (State::Exited, Some(code)) => format!("exited {code}"),
            (state, _) => word(state).to_owned(),
        },
        sign(service).0.to_owned(),
        short_image(&service.image),
        if running {
            lived.map_or_else(nothing, human::age)
        } else {
            nothing()
        },
        service.restarts.to_string(),
        cpu(service, status, previous, lived).unwrap_or_else(nothing),
        service.memory_bytes.map_or_else(nothing, disk::human),
        service.log_bytes.map_or_else(nothing, disk::human),
        crate::host::text::shorten(&service.note, 60),
    ]
}

/// Share of one core, since the last table; in the first one since the container's start, as
/// `vmstat` does it.
fn cpu(
    service: &ServiceStatus,
    status: &Status,
    previous: Option<&Status>,
    lived: Option<Duration>,
) -> Option<String> {
    let used = service.cpu_ns?;
    let before = previous.and_then(|previous| {
        let same = previous.services.iter().find(|before| {
            before.service == service.service && before.started_at == service.started_at
        })?;
        Some((
            same.cpu_ns?,
            Duration::try_from(status.at.duration_since(previous.at)).ok()?,
        ))
    });
    let (used, time) = match before {
        Some((before, time)) => (used.saturating_sub(before), time),
        None => (used, lived?),
    };
    let nanoseconds = u64::try_from(time.as_nanos())
        .ok()
        .filter(|time| *time > 0)?;
    Some(format!("{}%", used * 100 / nanoseconds))
}

fn word(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Exited => "exited",
        State::Created => "created",
        State::Restarting => "restarting",
        State::Paused => "paused",
        State::Dead => "dead",
        State::Missing => "missing",
    }
}

/// `rapidpro v6.4.8` of `praekeltfoundation/rapidpro:v6.4.8`.
fn short_image(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    match name.split_once('@') {
        Some((name, digest)) => format!("{name} {}", digest.chars().take(14).collect::<String>()),
        None => name.replacen(':', " ", 1),
    }
}
