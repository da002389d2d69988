//! Elasticsearch 7.10.1, one node: as much of it as contact search, the indexer and an
//! operator touch.

mod bootstrap;
mod cat;
mod cluster;
mod disk;
mod documents;
mod failure;
mod indices;
mod java;
mod log;
mod names;
mod query;
mod rest;
mod search;
mod settings;
mod store;

use std::net::UdpSocket;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::http::server::Server;
use crate::steer::Steering;
use crate::{boot, process};
use failure::{Failure, Outcome};
use java::Heap;
use store::Node;

pub const VERSION: &str = "7.10.1";
pub const BUILD_HASH: &str = "1c34507e66d7db1211f66f3513706fdf548736aa";
pub const BUILD_DATE: &str = "2020-12-05T01:00:33.671820Z";
const DATA_FOLDER: &str = "/usr/share/elasticsearch/data";

pub struct Elastic {
    pub node: Arc<Node>,
    pub heap: Heap,
    pub cluster_name: String,
    pub node_name: String,
    /// The container's own address.
    pub address: String,
    pub started: Instant,
    pub steering: Arc<Steering>,
    monitor: disk::Monitor,
}

impl Elastic {
    pub fn is_red(&self) -> bool {
        self.steering.is_unhealthy(&self.steering.now())
    }

    fn refuse_while_red(&self) -> Outcome<()> {
        if !self.is_red() {
            return Ok(());
        }
        Err(Failure::new(503, "no_shard_available_action_exception", "").on_all_shards("_all"))
    }
}

pub fn run(arguments: &[String]) -> ! {
    if let Some(unknown) = arguments.iter().find(|a| *a != "eswrapper") {
        eprintln!("ERROR: {unknown} is not a recognized option");
        std::process::exit(64);
    }
    // Before any thread, and before the data folder is touched.
    bootstrap::give_up_root();
    let booted = boot::begin("elasticsearch", exit_of_the_jvm);
    let steering = booted.steering.clone();

    let heap = java::parse(&std::env::var("ES_JAVA_OPTS").unwrap_or_default());
    let heap = heap.unwrap_or_else(|message| {
        eprintln!(
            "Exception in thread \"main\" java.lang.RuntimeException: starting java failed with \
             [1]\noutput:\n\nerror:\n{message}\n\n\tat org.elasticsearch.tools.launchers.\
             JvmErgonomics.flagsFinal(JvmErgonomics.java)"
        );
        boot::exit(1)
    });
    let settings = settings::from_environment(std::env::vars());
    let node_name =
        settings.as_ref().ok().and_then(|s| s.node_name.clone()).unwrap_or_else(process::hostname);
    let cluster_name = settings.as_ref().map_or("docker-cluster", |s| &s.cluster_name).to_owned();
    log::set_node(log::Node { cluster_name: cluster_name.clone(), name: node_name.clone() });

    let steer = steering.now();
    if !steer.never_ready {
        bootstrap::log_version();
    }
    let settings = settings.unwrap_or_else(|message| {
        fail(&format!("java.lang.IllegalArgumentException: {message}"));
        boot::exit(1)
    });
    if !steer.never_ready {
        log::info("o.e.n.Node", "initialized");
        log::info("o.e.n.Node", "starting ...");
    }
    booted.hold_back(|| ());

    let node = Node::open(Path::new(DATA_FOLDER)).unwrap_or_else(|message| {
        fail(&message);
        boot::exit(1)
    });
    let address = own_address();
    log::info(
        "o.e.t.TransportService",
        &format!("publish_address {{{address}:9300}}, bound_addresses {{0.0.0.0:9300}}"),
    );
    bootstrap::check(&settings, &heap, &steering.now());
    node.read(|store| log::set_ids(&store.cluster_uuid, &store.node_id));

    let elastic = Arc::new(Elastic {
        node: node.clone(),
        heap,
        cluster_name,
        node_name,
        address: address.clone(),
        started: Instant::now(),
        steering: steering.clone(),
        monitor: disk::Monitor::default(),
    });
    booted.signals.arm();
    let answering = elastic.clone();
    let server = Server::start(
        ("0.0.0.0", settings.port),
        steering.clone(),
        Arc::new(move |request| {
            disk::look(&answering);
            rest::answer(&answering, request)
        }),
    );
    let server = server.unwrap_or_else(|problem| {
        fail(&format!("BindHttpException[Failed to bind to 0.0.0.0:{}]; {problem}", settings.port));
        boot::exit(1)
    });
    steering.mark_ready();
    let port = settings.port;
    log::info(
        "o.e.h.AbstractHttpServerTransport",
        &format!("publish_address {{{address}:{port}}}, bound_addresses {{0.0.0.0:{port}}}"),
    );
    log::info("o.e.n.Node", "started");
    log_recovery(&elastic);

    loop {
        let signal = booted.signals.next();
        if signal == process::SIGQUIT {
            crate::log_line(
                "Full thread dump OpenJDK 64-Bit Server VM (15.0.1+9 mixed mode, sharing):\n",
            );
            continue;
        }
        log::info("o.e.n.Node", "stopping ...");
        server.stop();
        log::info("o.e.n.Node", "stopped");
        log::info("o.e.n.Node", "closing ...");
        let _ = node.save();
        log::info("o.e.n.Node", "closed");
        std::process::exit(128 + signal);
    }
}

fn log_recovery(elastic: &Elastic) {
    let indices = elastic.node.read(|store| store.indices.len());
    log::info("o.e.g.GatewayService", &format!("recovered [{indices}] indices into cluster_state"));
    log::info("o.e.l.LicenseService", "license [b2b1c2f0-ooy-stand-in] mode [basic] - valid");
}

/// The JVM without its shutdown hooks yet.
fn exit_of_the_jvm(signal: i32) -> ! {
    std::process::exit(128 + signal)
}

/// An exception that reached the top.
fn fail(message: &str) {
    log::error(
        "o.e.b.ElasticsearchUncaughtExceptionHandler",
        &format!("uncaught exception in thread [main]\n{message}"),
    );
    eprintln!("uncaught exception in thread [main]\n{message}");
    eprintln!(
        "For complete error details, refer to the log at /usr/share/elasticsearch/logs/docker-cluster.log"
    );
}

/// The address that a packet to elsewhere would leave from; none is sent.
fn own_address() -> String {
    UdpSocket::bind("0.0.0.0:0")
        .and_then(|socket| {
            socket.connect("10.255.255.255:9")?;
            socket.local_addr()
        })
        .map_or_else(|_| "127.0.0.1".into(), |address| address.ip().to_string())
}
