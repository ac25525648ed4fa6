//! The carrier between a client's socket and the SSH server: it can be late, and it can break.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::wire::Wire;

/// Carries until one side ends or it is cut.
pub(super) async fn carry(
    socket: TcpStream,
    inner: tokio::io::DuplexStream,
    wire: &Wire,
    cut: &CancellationToken,
) {
    let (from_client, to_client) = socket.into_split();
    let (from_server, to_server) = tokio::io::split(inner);
    tokio::select! {
        () = cut.cancelled() => {}
        ((), ()) = async { tokio::join!(delay(from_client, to_server, wire), delay(from_server, to_client, wire)) } => {}
    }
}

/// Copies until the end, every byte late by the latency and none because of those before it.
async fn delay(mut from: impl AsyncRead + Unpin, mut to: impl tokio::io::AsyncWrite + Unpin, wire: &Wire) {
    let (queue, mut due) = tokio::sync::mpsc::channel::<(tokio::time::Instant, Vec<u8>)>(64);
    let read = async move {
        let mut buffer = vec![0; 1 << 15];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let when = tokio::time::Instant::now() + wire.latency();
            if queue.send((when, buffer[..count].to_vec())).await.is_err() {
                break;
            }
        }
    };
    let write = async move {
        while let Some((when, bytes)) = due.recv().await {
            tokio::time::sleep_until(when).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        drop(to.shutdown().await);
    };
    tokio::join!(read, write);
}
