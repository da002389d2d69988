//! Docker's socket with a door: what goes through it is passed on to the real one, until it is
//! closed, as when the daemon is stopped.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub struct Door {
    path: PathBuf,
    passing: Arc<Mutex<Vec<UnixStream>>>,
}

impl Door {
    pub fn open(path: &Path) -> Self {
        let door = Self {
            path: path.to_owned(),
            passing: Arc::default(),
        };
        door.again();
        door
    }

    /// As DOCKER_HOST has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// Nobody answers any more, and what was under way breaks off.
    pub fn close(&self) {
        let _ = std::fs::remove_file(&self.path);
        for stream in self.passing.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// As after the daemon's next start.
    pub fn again(&self) {
        let listener = UnixListener::bind(&self.path).unwrap();
        let passing = Arc::clone(&self.passing);
        let real = std::env::var("DOCKER_HOST").unwrap_or_default();
        let real = match real.strip_prefix("unix://") {
            Some(path) => path.to_owned(),
            None => "/var/run/docker.sock".to_owned(),
        };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let daemon = UnixStream::connect(&real).unwrap();
                let mut all = passing.lock().unwrap();
                for (from, to) in [(&client, &daemon), (&daemon, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    all.push(from.try_clone().unwrap());
                    std::thread::spawn(move || pass(from, to));
                }
            }
        });
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close();
    }
}

fn pass(mut from: UnixStream, mut to: UnixStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // The other way may go on: a request has ended, its answer has not.
    let _ = to.shutdown(Shutdown::Write);
}
