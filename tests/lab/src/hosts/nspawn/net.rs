//! Reaching into a fleet's network from outside of it: a thread goes there, connects, and hands the socket over.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const CONNECT: Duration = Duration::from_secs(5);

/// Connects from inside a network namespace. A socket stays in the namespace where it was made.
pub(super) async fn connect(netns: &Path, to: SocketAddr) -> io::Result<TcpStream> {
    let netns = netns.to_owned();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // A thread of its own, since it stays in the namespace: one of the pool's would take others there.
    std::thread::spawn(move || sender.send(connect_inside(&netns, to)));
    let stream = receiver.await.map_err(io::Error::other)??;
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

fn connect_inside(netns: &Path, to: SocketAddr) -> io::Result<std::net::TcpStream> {
    let netns = std::fs::File::open(netns)?;
    move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
    std::net::TcpStream::connect_timeout(&to, CONNECT)
}

/// A port on 127.0.0.1 that leads into a fleet's network. Dropping it closes the port and what runs over it.
pub struct Forward {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Forward {
    pub(super) async fn new(netns: PathBuf, to: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("opening a port on loopback")?;
        let address = listener.local_addr()?;
        Ok(Self { address, task: tokio::spawn(serve(listener, netns, to)) })
    }

    /// 127.0.0.1 and the port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Who connects while nothing answers inside sees the connection close at once.
async fn serve(listener: TcpListener, netns: PathBuf, to: SocketAddr) {
    let mut open = tokio::task::JoinSet::new();
    while let Ok((mut outside, _)) = listener.accept().await {
        while open.try_join_next().is_some() {}
        let netns = netns.clone();
        open.spawn(async move {
            if let Ok(mut inside) = connect(&netns, to).await {
                drop(outside.set_nodelay(true));
                drop(inside.set_nodelay(true));
                drop(tokio::io::copy_bidirectional(&mut outside, &mut inside).await);
            }
        });
    }
}
