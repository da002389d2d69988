//! The Content Repository: whether it answers, and whether it shows strangers its settings.

use std::rc::Rc;

use super::answering::{self, Request};
use crate::diagnosis::Code::{
    ContentrepoUnreachable, MigrationsPending, OomKilled, PostgresUnreachable, RedisUnreachable,
    RestartLoop, ServiceUnhealthy, UpstreamUnreachable,
};
use crate::diagnosis::cause::When::{SameData, SameService};
use crate::diagnosis::cause::rule;
use crate::diagnosis::check::{Check, Checked, Halt, Looking, Report, Subject};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};

/// The checks of this subject.
pub const SUBJECT: Subject = Subject {
    checks: &[
        Check {
            name: "contentrepo",
            about: "whether the Content Repository answers, its database with it",
            codes: &[Code::ContentrepoUnreachable],
            run: |scene| -> Looking { Box::pin(reach(scene)) },
        },
        Check {
            name: "contentrepo-debug",
            about: "whether the Content Repository runs in debug mode",
            codes: &[Code::ContentrepoDebug],
            run: |scene| -> Looking { Box::pin(debug(scene)) },
        },
    ],
    rules: &[
        rule(ContentrepoUnreachable, PostgresUnreachable, SameData),
        rule(ContentrepoUnreachable, RedisUnreachable, SameData),
        rule(ContentrepoUnreachable, MigrationsPending, SameData),
        rule(ContentrepoUnreachable, RestartLoop, SameService),
        rule(ContentrepoUnreachable, OomKilled, SameService),
        rule(ServiceUnhealthy, ContentrepoUnreachable, SameService),
        rule(UpstreamUnreachable, ContentrepoUnreachable, SameService),
    ],
};

fn request<'a>(scene: &'a Scene, path: &'a str) -> Request<'a> {
    Request {
        service: "contentrepo",
        port: 8000,
        host: scene.context.settings.get("CONTENTREPO_DOMAIN"),
        path,
    }
}

async fn reach(scene: Rc<Scene>) -> Checked {
    let request = request(&scene, "/admin/login/");
    let response = request.send(&scene).await?;
    let starting = response.is_starting(&scene);
    let (summary, cause) = match &response.answer {
        Ok(answer) if answer.status == 200 => return Ok(Report::fine()),
        _ if starting => ("The Content Repository is still starting".to_owned(), ""),
        Ok(answer) if answer.status == 400 => (
            "The Content Repository refuses its own name with 400".to_owned(),
            "its ALLOWED_HOSTS is not that of CONTENTREPO_DOMAIN: it was started with other settings",
        ),
        Ok(answer) => (
            format!("The Content Repository answers {}", answer.status),
            "",
        ),
        Err(error) => (
            format!("The Content Repository does not answer: {error}"),
            "",
        ),
    };
    let mut finding = answering::finding(starting, Code::ContentrepoUnreachable, summary)
        .service("contentrepo")
        .evidence(request.evidence(&response, "200"))
        .impact("editors cannot open it, and flows that fetch content get none")
        .cause(cause)
        .fix(scene.command("fix service contentrepo"))
        .manual(format!("docker restart -t 30 {}", response.container.name))
        .interrupts("the Content Repository, about 20 s");
    let is_trouble = |line: &str| {
        ["Error", "ERROR", "Exception"]
            .iter()
            .any(|word| line.contains(word))
    };
    if let Some(evidence) = answering::trouble(&scene, response.container, is_trouble).await {
        finding = finding.evidence(evidence);
    }
    Ok(finding.into())
}

/// Django's own words under its debug pages.
const DEBUG_PAGE: &str = "<code>DEBUG = True</code>";

/// DEBUG is fixed in the code of the releases up to v0.0.100 at least, and a setting of the image
/// later (stack.md section 2.4). A page that does not exist tells.
async fn debug(scene: Rc<Scene>) -> Checked {
    let request = request(&scene, "/ooy-no-such-page");
    let response = request.send(&scene).await?;
    let answer = match &response.answer {
        Ok(answer) if answer.status < 500 => answer,
        Ok(answer) => {
            return Err(Halt::blocked(
                Code::ContentrepoUnreachable,
                format!("the Content Repository answers {}", answer.status),
            ));
        }
        Err(error) => {
            return Err(Halt::blocked(
                Code::ContentrepoUnreachable,
                format!("the Content Repository does not answer: {error}"),
            ));
        }
    };
    if !is_debug_page(&answer.text) {
        return Ok(Report::fine());
    }
    let container = response.container;
    // Where it can be switched off by a variable, that is what it is switched on by.
    let switched_on = container
        .environment
        .get("DEBUG")
        .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "true" | "1" | "on"));
    let finding = Finding::info(
        Code::ContentrepoDebug,
        "The Content Repository runs in debug mode",
    )
    .service("contentrepo")
    .evidence(
        request
            .evidence(&response, "404 without Django's debug page")
            .command(format!(
                "curl -sS --noproxy '*' -H 'Host: {}' http://{}{} | grep 'DEBUG = True'",
                request.host, response.address, request.path
            )),
    )
    .evidence(Evidence::new(
        "image",
        container.image.clone(),
        format!("container {}", container.name),
    ))
    .impact("whoever comes upon an error there sees parts of its code and settings");
    Ok(if switched_on {
        let file = &scene.context.settings.places.compose_override;
        finding
            .cause("DEBUG is set in its environment")
            .manual(format!("nano {}", file.display()))
            .manual(scene.command("start contentrepo"))
            .interrupts("the Content Repository, about 20 s")
    } else {
        finding
            .cause("this release has it fixed in its code; v1.0.0 has it off")
            .manual(scene.command("upgrade contentrepo"))
            .interrupts("the Content Repository, some minutes")
    }
    .into())
}

fn is_debug_page(text: &str) -> bool {
    text.contains(DEBUG_PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn djangos_debug_page_is_known_by_its_words() {
        assert!(is_debug_page(
            "<p>\n You’re seeing this error because you have <code>DEBUG = True</code> in\n"
        ));
        assert!(!is_debug_page("<h1>Not Found</h1>"));
    }
}
