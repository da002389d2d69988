//! Back to the old version, and what is told of it.

use super::{Ended, Run};
use crate::fault::Fault;
use crate::host::text::took as human;
use crate::upgrade::{database, images, prepare, state, trial};

impl Run<'_> {
    /// Back to the old version: images, settings and database together.
    pub(super) async fn back(&mut self) -> Result<Ended, Vec<Fault>> {
        let one = |fault: Box<Fault>| vec![*fault];
        let owner = self.procedure.owner;
        // A release task that is still migrating would go on in the database that is put aside.
        images::end_release(&self.context, self.procedure.owner)
            .await
            .map_err(one)?;
        self.discard_ahead().await;
        if self.state.copied || self.state.closed.is_some() {
            self.stop().await?;
        }
        if self.state.copied {
            let aside = self
                .state
                .rollback
                .then(|| prepare::name_of_newer(&self.state));
            let done = database::put_back(&self.context, &self.state, owner, aside.as_deref());
            done.await.map_err(one)?;
        } else if !self.state.rollback {
            database::drop_copy(&self.context, owner, &self.state.kept)
                .await
                .map_err(one)?;
        }
        self.choose_images(true).map_err(one)?;
        if self.procedure.owner == "rapidpro" && self.state.copied {
            crate::backup::restore::forget_search_index(&self.context).await;
        }
        self.start().await?;
        trial::run(&self.context, &self.state).await.map_err(one)?;
        self.open()?;
        let places = &self.context.settings.places;
        if self.state.rollback {
            state::forget_last(&places.state, self.state.app)
                .map_err(|error| one(self.not_noted(&error)))?;
        }
        self.forget()?;
        Ok(Ended {
            name: self.state.name(),
            undone: true,
            down: self.down(),
            kept: None,
        })
    }

    /// What a person is told where nothing is taken back.
    pub(super) fn left(&self, fault: Fault) -> Fault {
        fault
            .next(self.context.command("resume"))
            .next(self.context.command("resume --undo"))
    }
}

pub(super) fn returned(run: &Run, ended: &Ended) -> Fault {
    let step = run.state.step();
    let label = run.state.app.label();
    let mut fault = Fault::problem(
        format!("{label}: not upgraded; {} is back", step.from),
        format!("the upgrade to {} failed; what follows says why", step.to),
    )
    .evidence(format!(
        "images, settings and database are those of {}, and it was seen to work",
        step.from
    ))
    .evidence(format!("the web was closed for {}", human(ended.down.0)));
    if let Some(backup) = &run.state.backup {
        fault = fault.evidence(format!("backup {backup}, proved, is kept"));
    }
    fault
        .why("nothing was lost: nobody wrote between the copy of the database and now")
        .next(run.context.command("status"))
        .next(run.context.command(&format!(
            "upgrade {} --to {} --dry-run",
            run.state.app.name(),
            step.to
        )))
}
