//! A workspace in RapidPro, an organisation in Casepro that pulls from it, and a gate between the
//! two.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::harness::{Home, redis_cli, sql, surroundings, until};
use crate::hotline::TOKEN;

pub const PATIENCE: Duration = Duration::from_secs(120);

impl Home {
    /// A whole deployment with these settings. Asked less often how it is than others are, so that
    /// several fit on a small machine; where that is too busy for a start, once more.
    pub fn brought_up(name: &str, settings: &[(&str, &str)]) -> Self {
        let home = Self::with_databases(name);
        let patient = [
            ("HEALTH_INTERVAL", "5s"),
            ("CELERY_HEALTH_INTERVAL", "20s"),
            ("DIAGNOSE_TIMEOUT", "12s"),
        ];
        for (name, value) in patient.iter().chain(settings) {
            home.set(name, &format!("{name}={value}"));
        }
        home.comes_up();
        home
    }

    /// `ooy start`, which on a machine that is too busy may need another try.
    #[track_caller]
    pub fn comes_up(&self) {
        for _ in 0..3 {
            if self.ooy(&["start"]).code == 0 {
                return;
            }
        }
        self.ooy(&["start"]).expect(0);
    }

    /// SQL in one of its databases.
    pub fn sql(&self, owner: &str, statement: &str) -> String {
        sql(&self.database(owner), statement)
    }

    /// Asks Casepro's Redis database.
    pub fn casepro_redis(&self, command: &[&str]) -> String {
        let url = self.setting("CASEPRO_REDIS_URL");
        let number = url.rsplit('/').next().unwrap().to_owned();
        redis_cli(&[&["-n", &number], command].concat())
    }

    /// A workspace with a token, and an organisation that pulls with it.
    pub fn seed(&self) {
        let rapidpro = [
            "exec",
            &self.container("rapidpro"),
            "/venv/bin/python",
            "/rapidpro/manage.py",
            "stand_in_seed",
            "--token",
            TOKEN,
        ];
        assert!(self.docker(&rapidpro).contains(TOKEN));
        let casepro = [
            "exec",
            &self.container("casepro"),
            "python",
            "/app/manage.py",
            "stand_in_seed",
            "--token",
            TOKEN,
        ];
        assert!(self.docker(&casepro).contains("lvcthealth"));
    }

    /// When message-pull last succeeded, as text; empty: never.
    pub fn pulled(&self) -> String {
        self.sql(
            "casepro",
            "SELECT last_successfully_started_on FROM orgs_taskstate \
             WHERE task_key = 'message-pull'",
        )
    }

    /// Waits until a pull succeeds that begins from now on.
    #[track_caller]
    pub fn pulls_again(&self) {
        let before = self.pulled();
        until("a pull succeeds", PATIENCE, || {
            let now = self.pulled();
            !now.is_empty() && now != before
        });
    }

    /// A message that comes in and is handled, straight into the database.
    pub fn message_comes_in(&self) {
        self.sql(
            "rapidpro",
            "INSERT INTO msgs_msg SELECT (jsonb_populate_record(NULL::msgs_msg, to_jsonb(old) \
             || jsonb_build_object('id', nextval('msgs_msg_id_seq'), 'uuid', gen_random_uuid(), \
             'created_on', now(), 'modified_on', now(), 'text', 'one more'))).* \
             FROM (SELECT * FROM msgs_msg WHERE direction = 'I' ORDER BY id LIMIT 1) AS old",
        );
    }
}

/// Passes Casepro's requests on to RapidPro, or takes them and says nothing.
pub struct Gate {
    port: u16,
    how: Arc<How>,
}

/// What is done with a request.
#[derive(Default)]
struct How {
    /// Nothing is said for as long as this is so.
    mute: AtomicBool,
    /// Nothing is ever said to a request that comes while this is so.
    stuck: AtomicBool,
    /// So many milliseconds pass before it is passed on.
    slow: AtomicU64,
    /// Under the name that it was asked for, so that RapidPro's links to further pages lead through
    /// here too.
    by_own_name: AtomicBool,
}

impl Gate {
    /// Casepro's organisation asks through it from now on.
    pub fn before(home: &Home) -> Self {
        let gate = Self::open(home);
        let host = surroundings("OOY_TEST_POSTGRES_HOST");
        home.sql(
            "casepro",
            &format!(
                "UPDATE orgs_orgbackend SET host = 'http://{host}:{}'",
                gate.port
            ),
        );
        gate
    }

    /// Before RapidPro, for whoever asks at [`Gate::url`].
    pub fn open(home: &Home) -> Self {
        let address = home.inspect(
            "rapidpro",
            "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        );
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let how = Arc::new(How::default());
        let shared = Arc::clone(&how);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (upstream, how) = (format!("{address}:8000"), Arc::clone(&shared));
                std::thread::spawn(move || pass(stream.unwrap(), &upstream, &how));
            }
        });
        Self { port, how }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn mute(&self, mute: bool) {
        self.how.mute.store(mute, Ordering::SeqCst);
    }

    /// Requests that come while this is so are never answered, also afterwards.
    pub fn stuck(&self, stuck: bool) {
        self.how.stuck.store(stuck, Ordering::SeqCst);
    }

    /// RapidPro knows this place by its address (its ALLOWED_HOSTS has it).
    pub fn by_own_name(&self) {
        self.how.by_own_name.store(true, Ordering::SeqCst);
    }

    /// Each request takes so long from now on.
    pub fn slow(&self, pause: Duration) {
        let pause = u64::try_from(pause.as_millis()).unwrap();
        self.how.slow.store(pause, Ordering::SeqCst);
    }
}

fn pass(mut client: TcpStream, upstream: &str, how: &How) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match client.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let stuck = how.stuck.load(Ordering::SeqCst);
    if stuck || how.mute.load(Ordering::SeqCst) {
        // Until whoever asked is gone, or it speaks again: then the connection ends.
        let wait = Some(Duration::from_millis(100));
        client.set_read_timeout(wait).unwrap();
        while stuck || how.mute.load(Ordering::SeqCst) {
            match client.read(&mut byte) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
        return;
    }
    std::thread::sleep(Duration::from_millis(how.slow.load(Ordering::SeqCst)));
    let head = String::from_utf8_lossy(&head).into_owned();
    let own_name = how.by_own_name.load(Ordering::SeqCst);
    let lines: Vec<&str> = head
        .trim_end()
        .split("\r\n")
        .filter(|line| {
            let line = line.to_lowercase();
            (own_name || !line.starts_with("host:")) && !line.starts_with("connection:")
        })
        .collect();
    let Ok(mut server) = TcpStream::connect(upstream) else {
        return;
    };
    let name = if own_name { "" } else { "Host: rapidpro\r\n" };
    let head = lines.join("\r\n") + "\r\n" + name + "Connection: close\r\n\r\n";
    let _ = server.write_all(head.as_bytes());
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
    });
    let _ = std::io::copy(&mut server, &mut client);
    let _ = client.shutdown(std::net::Shutdown::Both);
}
