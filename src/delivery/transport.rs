//! What a session needs of the connection under it.

use super::Frame;

/// The connection under a session.
pub trait Transport: Send + Sync {
    /// Hands one event over, or says why not. With `on_ack`, the client is asked to acknowledge.
    fn send(&self, frame: &Frame, on_ack: Option<OnAck>) -> Result<(), TransportError>;
    /// Ends the session; a client that behaves closes the connection.
    fn close(&self);
    /// Ends the connection itself, at once.
    fn cut(&self);
}

/// Called once: with `true` when the client acknowledges, with `false` when it does not in time.
pub type OnAck = Box<dyn FnOnce(bool) + Send>;

/// Why the transport took no event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TransportError {
    /// Its buffer is full; try again.
    Full,
    /// It is gone.
    Closed,
}
