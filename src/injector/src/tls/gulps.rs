//! A socket that is read in large pieces. The TLS library asks for 4 KiB at a time, and each would be a system call.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is read at once: most reviews. A connection whose reader is slow holds almost as much, so no more than that.
const GULP: usize = 16 << 10;

thread_local! {
    /// Where pieces arrive. One for each thread: connections that are idle hold nothing.
    static ROOM: RefCell<[u8; GULP]> = const { RefCell::new([0; GULP]) };
}

/// Reads ahead, and passes writes on.
pub(super) struct Gulps<IO> {
    io: IO,
    /// What has arrived and was not asked for yet, from `taken` on.
    held: Vec<u8>,
    taken: usize,
}

impl<IO> Gulps<IO> {
    pub(super) fn new(io: IO) -> Gulps<IO> {
        Gulps { io, held: Vec::new(), taken: 0 }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Gulps<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            if buffer.remaining() >= GULP {
                return Pin::new(&mut self.io).poll_read(cx, buffer);
            }
            return ROOM.with_borrow_mut(|room| {
                let mut piece = ReadBuf::new(room);
                ready!(Pin::new(&mut self.io).poll_read(cx, &mut piece))?;
                let (now, later) = piece.filled().split_at(piece.filled().len().min(buffer.remaining()));
                buffer.put_slice(now);
                self.held = later.to_vec();
                Poll::Ready(Ok(()))
            });
        }
        let rest = &self.held[self.taken..];
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        self.taken += count;
        if self.taken == self.held.len() {
            (self.held, self.taken) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Gulps<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buffer)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffers: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_came_is_read_in_its_order_however_little_is_asked_for() {
        let sent: Vec<u8> = (0..100_000u32).map(|number| number.to_le_bytes()[0] ^ number.to_le_bytes()[1]).collect();
        for asked in [1, 4096, GULP - 1, GULP, GULP + 1] {
            let (mut near, far) = duplex(GULP * 2 + 7);
            let sending = sent.clone();
            let sender = tokio::spawn(async move {
                near.write_all(&sending).await.unwrap();
                near.shutdown().await.unwrap();
            });
            let (mut reader, mut read, mut piece) = (Gulps::new(far), Vec::new(), vec![0; asked]);
            loop {
                match reader.read(&mut piece).await.unwrap() {
                    0 => break,
                    count => read.extend_from_slice(&piece[..count]),
                }
            }
            sender.await.unwrap();
            assert!(read == sent, "pieces of {asked}");
        }
    }

    /// What was asked of a socket.
    #[derive(Default)]
    struct Socket(Vec<&'static str>);

    impl AsyncWrite for Socket {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
            self.0.push("write");
            Poll::Ready(Ok(buffer.len()))
        }

        fn poll_write_vectored(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffers: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
            self.0.push("write many");
            Poll::Ready(Ok(buffers.iter().map(|buffer| buffer.len()).sum()))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.0.push("flush");
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.0.push("shut down");
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn all_that_is_not_reading_goes_to_the_socket_at_once() {
        let mut writer = Gulps::new(Socket::default());
        assert!(writer.is_write_vectored());
        writer.write_all(b"one").await.unwrap();
        assert_eq!(writer.write_vectored(&[io::IoSlice::new(b"two"), io::IoSlice::new(b"three")]).await.unwrap(), 8);
        writer.flush().await.unwrap();
        writer.shutdown().await.unwrap();
        assert_eq!(writer.io.0, ["write", "write many", "flush", "shut down"]);
    }

    #[tokio::test]
    async fn one_read_takes_a_whole_review_from_the_socket() {
        let (mut near, far) = duplex(64 << 10);
        near.write_all(&[7; 13_500]).await.unwrap();
        let mut reader = Gulps::new(far);
        let mut piece = [0; 4096];
        assert_eq!(reader.read(&mut piece).await.unwrap(), 4096);
        assert_eq!(reader.held.len(), 13_500 - 4096);
        // Ends the stream: what is left comes from memory.
        drop(near);
        let mut rest = [0; 13_500 - 4096];
        reader.read_exact(&mut rest).await.unwrap();
        assert!(rest == [7; 13_500 - 4096]);
        assert_eq!(reader.held.capacity(), 0, "nothing is held once all was read");
        assert_eq!(reader.read(&mut piece).await.unwrap(), 0);
    }
}
