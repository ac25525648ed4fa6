//! A loopback port that belongs to a host for as long as the lab runs, whether the host answers or not.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// A reserved port: connections are refused while nobody listens, and nobody else can take it meanwhile.
pub struct Door {
    address: SocketAddr,
    /// Bound, and never listening. Sockets of the same user may share the port with it.
    _holder: TcpSocket,
}

impl Door {
    /// Reserves a free port on 127.0.0.1.
    pub fn reserve() -> io::Result<Self> {
        let holder = socket()?;
        holder.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        Ok(Self { address: holder.local_addr()?, _holder: holder })
    }

    /// 127.0.0.1 and the port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to listen.
    pub(crate) fn open(&self) -> io::Result<TcpListener> {
        let socket = socket()?;
        socket.bind(self.address)?;
        socket.listen(128)
    }
}

fn socket() -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    Ok(socket)
}
