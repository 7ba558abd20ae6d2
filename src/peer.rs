//! The TCP connection under a request: the client's address, the means to cut it when its queue is full, and what it holds of the
//! ledger. A client that reads nothing of what it is sent is cut; one that was refused while it sent a body can read why.

use std::net::Shutdown;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::{io, net::SocketAddr};

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::Sleep;

use crate::ledger::Entry;
use crate::strangers::Stranger;

/// For so long the client may take nothing of what waits to be written.
const STALLED: Duration = Duration::from_secs(30);
/// Bytes that the kernel keeps for the client (Linux takes twice as much). It says that there is room again when a third is free: of
/// the megabytes that it would give a fast connection, a slow client might not take a third within [`STALLED`].
const SEND_BUFFER: usize = 256 * 1024;
/// The same for a client that has shown no token.
const NARROW: usize = 32 * 1024;
/// For so long what a client goes on sending is read and thrown away after it was refused: closing at once would reset the connection,
/// and the answer might be lost with it (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);

/// Where a request comes from, proxies that are trusted seen through.
#[derive(Clone, Debug)]
pub struct ClientAddress(pub String);

/// What a connection of Socket.IO holds for as long as it has not shown a token: until its token was accepted, or it is gone.
#[derive(Clone)]
pub struct Unproven {
    entries: Arc<Mutex<Vec<Entry>>>,
    stranger: Option<Arc<Stranger>>,
}

impl Unproven {
    /// It holds these, on a connection that may be a stranger's.
    pub fn new(entries: Vec<Entry>, stranger: Option<Arc<Stranger>>) -> Self {
        Self { entries: Arc::new(Mutex::new(entries)), stranger }
    }

    /// It has shown a token.
    pub fn prove(&self) {
        let entries = std::mem::take(&mut *self.entries.lock());
        drop(entries);
        if let Some(stranger) = &self.stranger {
            stranger.prove();
        }
    }
}

struct Shared {
    write: OwnedWriteHalf,
    /// Whether the client may still be sending what nobody reads.
    unread: AtomicBool,
}

impl Shared {
    fn tcp(&self) -> &TcpStream {
        self.write.as_ref()
    }
}

/// Cuts a connection. It does not keep it open: requests live longer than their connections.
#[derive(Clone)]
pub struct AbortHandle(Weak<Shared>);

impl AbortHandle {
    /// Ends both directions at once, whatever waits to be written.
    pub fn sever(&self) {
        if let Some(shared) = self.0.upgrade() {
            let _ = SockRef::from(shared.tcp()).shutdown(Shutdown::Both);
        }
    }

    /// The kernel keeps little for the client.
    pub(crate) fn narrow(&self) {
        self.keep(NARROW);
    }

    /// The kernel keeps for the client what a fast connection needs.
    pub(crate) fn widen(&self) {
        self.keep(SEND_BUFFER);
    }

    fn keep(&self, bytes: usize) {
        if let Some(shared) = self.0.upgrade() {
            let _ = SockRef::from(shared.tcp()).set_send_buffer_size(bytes);
        }
    }

    /// Notes that a body was left unread, so that the end of the connection does not destroy the answer.
    pub fn linger(&self) {
        if let Some(shared) = self.0.upgrade() {
            shared.unread.store(true, Ordering::Relaxed);
        }
    }
}

/// A TCP stream that can be cut from outside while another task reads and writes it.
pub struct Stream {
    /// Reads as the runtime does itself: after a read that did not fill its buffer it does not ask the kernel again for nothing.
    read: OwnedReadHalf,
    shared: Arc<Shared>,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// What the connection holds of the ledger, for as long as it is open.
    held: Option<Entry>,
    stranger: Option<Arc<Stranger>>,
}

impl Stream {
    /// Wraps an accepted connection with what it holds; gives the means to cut it.
    pub fn new(stream: TcpStream, held: Option<Entry>) -> (Self, AbortHandle) {
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
        let (read, write) = stream.into_split();
        let shared = Arc::new(Shared { write, unread: AtomicBool::new(false) });
        let abort = AbortHandle(Arc::downgrade(&shared));
        (Self { read, shared, stalled: None, held, stranger: None }, abort)
    }

    /// It is the connection of a stranger, who is gone when it ends.
    pub fn is_of(&mut self, stranger: Arc<Stranger>) {
        self.stranger = Some(stranger);
    }

    /// The other end's address.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.shared.tcp().peer_addr()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(stranger) = &self.stranger {
            stranger.leave();
        }
        if !self.shared.unread.load(Ordering::Relaxed) {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (shared, held) = (self.shared.clone(), self.held.take());
            runtime.spawn(async move {
                linger(shared.tcp(), LINGER).await;
                drop(held);
            });
        }
    }
}

/// Ends the writing direction, and reads away what comes until the client ends, too, or the time is over.
pub async fn linger(stream: &TcpStream, time: Duration) {
    let _ = SockRef::from(stream).shutdown(Shutdown::Write);
    let read = async {
        let mut buffer = [0; 4096];
        while stream.readable().await.is_ok() {
            match stream.try_read(&mut buffer) {
                Ok(0) => return,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    };
    let _ = tokio::time::timeout(time, read).await;
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().read).poll_read(cx, buffer)
    }
}

impl Stream {
    fn poll_with(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let stream = self.shared.tcp();
        while let Poll::Ready(writable) = stream.poll_write_ready(cx) {
            writable?;
            match write(stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => {
                    self.stalled = None;
                    return Poll::Ready(outcome);
                }
            }
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALLED)));
        ready!(stalled.as_mut().poll(cx));
        metrics::counter!("rtc_http_connections_cut_total", "why" => "unread").increment(1);
        // The side that reads ends as well.
        let _ = SockRef::from(stream).shutdown(Shutdown::Both);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_with(cx, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_with(cx, |stream| stream.try_write_vectored(parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match SockRef::from(self.shared.tcp()).shutdown(Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, Stream, AbortHandle) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, abort) = Stream::new(listener.accept().await.unwrap().0, None);
        (client, stream, abort)
    }

    #[tokio::test]
    async fn the_means_to_cut_a_connection_do_not_keep_it_open() {
        let (mut client, stream, abort) = pair().await;
        drop(stream);
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
        abort.sever();
        let (mut client, stream, abort) = pair().await;
        abort.sever();
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
        drop(stream);
    }

    /// Writes until the connection takes no more.
    fn fill(stream: &mut Stream) -> io::Result<()> {
        while let Some(written) = stream.write(&[7; 64 << 10]).now_or_never() {
            written?;
        }
        Ok(())
    }

    /// The client takes what is there until the connection takes more. Nobody waits, so that the time stands still.
    async fn take_some(client: &TcpStream, stream: &mut Stream) -> io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let _ = client.try_read(&mut buffer);
            tokio::task::yield_now().await;
            if let Some(written) = stream.write(&[7; 1024]).now_or_never() {
                return written.map(drop);
            }
        }
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_cut_and_one_that_takes_little_is_not() {
        let (mut client, mut stream, _abort) = pair().await;
        tokio::time::pause();
        fill(&mut stream).unwrap();
        for _ in 0..6 {
            tokio::time::advance(STALLED * 3 / 4).await;
            take_some(&client, &mut stream).await.unwrap();
            fill(&mut stream).unwrap();
        }
        tokio::time::advance(STALLED * 3 / 4).await;
        fill(&mut stream).unwrap();
        tokio::time::advance(STALLED / 2).await;
        let error = fill(&mut stream).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // Both directions are over.
        while client.read(&mut vec![0; 64 << 10]).await.unwrap_or(0) > 0 {}
    }

    #[tokio::test]
    async fn who_was_refused_while_sending_can_read_why() {
        let (mut client, mut stream, abort) = pair().await;
        client.write_all(&vec![7; 100_000]).await.unwrap();
        stream.write_all(b"no").await.unwrap();
        abort.linger();
        drop(stream);
        client.write_all(&vec![7; 100_000]).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"no");
    }
}
