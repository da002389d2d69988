//! The front door: nginx's configuration, and what is behind it.

mod config;
mod upstreams;

pub(super) use upstreams::other_name;

use crate::diagnosis::Code;
use crate::diagnosis::cause::{Rule, When, rule};
use crate::diagnosis::check::{Check, Looking, Subject};

/// The checks of this subject.
pub const SUBJECT: Subject = Subject {
    checks: &[
        Check {
            name: "nginx-config",
            about: "nginx's configuration, as `nginx -t` sees it, and whether somebody edited it",
            codes: &[Code::NginxConfigInvalid],
            run: |scene| -> Looking { Box::pin(config::nginx_config(scene)) },
        },
        Check {
            name: "nginx-answers",
            about: "whether nginx itself answers over HTTPS",
            codes: &[Code::UpstreamUnreachable],
            run: |scene| -> Looking { Box::pin(upstreams::nginx_answers(scene)) },
        },
        Check {
            name: "nginx-to-rapidpro",
            about: "a page of RapidPro, asked through nginx",
            codes: &[Code::UpstreamUnreachable],
            run: |scene| -> Looking { Box::pin(upstreams::through(scene, &upstreams::RAPIDPRO)) },
        },
        Check {
            name: "nginx-to-courier",
            about: "courier's path for providers, asked through nginx",
            codes: &[Code::UpstreamUnreachable],
            run: |scene| -> Looking { Box::pin(upstreams::through(scene, &upstreams::COURIER)) },
        },
        Check {
            name: "nginx-to-mailroom",
            about: "one of mailroom's public paths, asked through nginx",
            codes: &[Code::UpstreamUnreachable],
            run: |scene| -> Looking { Box::pin(upstreams::through(scene, &upstreams::MAILROOM)) },
        },
        Check {
            name: "nginx-to-casepro",
            about: "a page of Casepro, asked through nginx",
            codes: &[Code::UpstreamUnreachable],
            run: |scene| -> Looking { Box::pin(upstreams::through(scene, &upstreams::CASEPRO)) },
        },
        Check {
            name: "nginx-to-contentrepo",
            about: "a page of the content repository, asked through nginx",
            codes: &[Code::UpstreamUnreachable],
            run: |scene| -> Looking {
                Box::pin(upstreams::through(scene, &upstreams::CONTENTREPO))
            },
        },
    ],
    rules: &[
        // The service itself does not answer, which another check says better.
        by_service(Code::ServiceMissing),
        by_service(Code::OomKilled),
        by_service(Code::RestartLoop),
        by_service(Code::ServiceExited),
        by_service(Code::ServicePaused),
        by_service(Code::MigrationsPending),
        by_service(Code::CourierDependencyDown),
        by_service(Code::MailroomUnreachable),
        by_service(Code::RapidproUnreachable),
        by_service(Code::CaseproUnreachable),
        by_service(Code::ContentrepoUnreachable),
        by_service(Code::ServiceUnhealthy),
        rule(
            Code::UpstreamUnreachable,
            Code::PostgresUnreachable,
            When::SameData,
        ),
        rule(
            Code::UpstreamUnreachable,
            Code::RedisUnreachable,
            When::SameData,
        ),
    ],
};

/// nginx gets no answer from a service, because that service gives none.
const fn by_service(cause: Code) -> Rule {
    rule(Code::UpstreamUnreachable, cause, When::SameService)
}
