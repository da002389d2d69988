//! Where Asterisk connects to.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::agi::settings::Listen;
use crate::deployment::places::Places;
use crate::fault::{Fault, Result};
use crate::host::ports;

/// A TCP port or a unix socket.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// One connection.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    /// Listens there; nothing where FastAGI is switched off. Has to be called within a runtime.
    pub async fn bind(listen: &Listen, places: &Places) -> Result<Option<Self>> {
        let bound = match listen {
            Listen::Off => return Ok(None),
            Listen::Tcp(address) => TcpListener::bind(address).await.map(Listener::Tcp),
            Listen::Unix(path) => bind_unix(path).map(|bound| Listener::Unix(bound, path.clone())),
        };
        bound
            .map(Some)
            .map_err(|error| Box::new(fault(listen, &error, places)))
    }

    /// Where it listens, as a dialplan or a person names it.
    pub fn name(&self) -> String {
        match self {
            Listener::Tcp(listener) => listener
                .local_addr()
                .map(|address| address.to_string())
                .unwrap_or_default(),
            Listener::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // One small command: waiting for more to send with it would cost 40 ms.
                let _ = stream.set_nodelay(true);
                Ok(Stream::Tcp(stream))
            }
            Listener::Unix(listener, _) => listener
                .accept()
                .await
                .map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let is_socket =
        std::fs::symlink_metadata(path).is_ok_and(|about| about.file_type().is_socket());
    // Left by one that was killed; one that lives would take the connection.
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// How to see who it is.
fn look_at(port: u16, error: &io::Error) -> String {
    let holder = ports::listener(port).and_then(|held| held.pid);
    match holder.filter(|_| error.kind() == io::ErrorKind::AddrInUse) {
        Some(pid) => format!("ps -o pid,user,etime,args -p {pid}"),
        None => format!("ss -ltnp 'sport = :{port}'"),
    }
}

fn fault(listen: &Listen, error: &io::Error, places: &Places) -> Fault {
    let (name, look) = match listen {
        Listen::Tcp(address) => (address.to_string(), look_at(address.port(), error)),
        Listen::Unix(path) => (
            path.display().to_string(),
            format!("ls -l {}", path.display()),
        ),
        Listen::Off => (String::new(), String::new()),
    };
    Fault::problem(
        format!("{name}: FastAGI cannot listen there"),
        "the place where Asterisk is to connect could not be opened",
    )
    .evidence(match (listen, error.kind()) {
        (Listen::Tcp(address), io::ErrorKind::AddrInUse) => {
            match ports::listener(address.port()).and_then(|held| Some((held.process?, held.pid?)))
            {
                Some((process, pid)) => format!("{name} is held by {process}, process {pid}"),
                None => format!("{name} is held by another process"),
            }
        }
        _ => format!("{name}: {error}"),
    })
    .why("calls are still taken by `ooy agi`, as long as the dialplan uses it")
    .next(look)
    .next(places.command("calls serve --listen 127.0.0.1:4574"))
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(context, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_write(context, buffer),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
