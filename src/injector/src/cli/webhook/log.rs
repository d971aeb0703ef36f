//! Log lines on their way to standard error. A separate thread writes them, so no review waits for a pipe or a terminal, and one write takes many lines.

use std::io::{self, IsTerminal, Write};
use std::mem::take;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use tracing_subscriber::fmt::MakeWriter;

/// How many bytes of lines may wait. Those that find no room are counted and dropped.
const ROOM: usize = 256 << 10;
/// This many bytes are written at once; fewer wait for more lines.
const BATCH: usize = 32 << 10;
/// How long fewer bytes wait.
const GATHER: Duration = Duration::from_millis(100);
/// How long the program, when it ends, waits until the reader of standard error has taken the lines.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

/// Logs to standard error until the value that comes back is dropped, which writes what waits. A panic is logged by its place alone: its message may
/// quote the pod.
pub(super) fn to_stderr(format: Option<LogFormat>) -> io::Result<Flush> {
    let lines = Lines::default();
    let say = |dropped| tracing::warn!(lines = dropped, "log lines were dropped: they came faster than standard error takes them");
    let flush = lines.write_to(io::stderr(), say)?;
    let subscriber = tracing_subscriber::fmt().with_writer(lines).with_target(false).with_ansi(false);
    match format.unwrap_or(if io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json }) {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a defect: the code panicked");
    }));
    Ok(flush)
}

/// Lines that wait to be written.
#[derive(Clone, Default)]
struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    dropped: u64,
    /// Whether the writer waits for a first line.
    idle: bool,
    ending: bool,
    ended: bool,
}

/// Writes all lines when it is dropped.
pub(super) struct Flush(Lines);

impl Drop for Flush {
    fn drop(&mut self) {
        let Shared { changed, .. } = &*self.0.0;
        let mut waiting = self.0.lock();
        waiting.ending = true;
        changed.notify_all();
        // Ended or not, the program ends now.
        drop(changed.wait_timeout_while(waiting, PATIENCE, |waiting| !waiting.ended));
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Lines;

    fn make_writer(&'a self) -> &'a Lines {
        self
    }
}

impl Write for &Lines {
    /// A whole line, or several.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.lock();
        if waiting.lines.len() + line.len() > ROOM {
            waiting.dropped += 1;
            return Ok(line.len());
        }
        let was_less = waiting.lines.len() < BATCH;
        waiting.lines.extend_from_slice(line);
        if take(&mut waiting.idle) || (was_less && waiting.lines.len() >= BATCH) {
            self.0.changed.notify_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the thread that writes, and says how many lines were dropped.
    fn write_to(&self, mut out: impl Write + Send + 'static, say: impl Fn(u64) + Send + 'static) -> io::Result<Flush> {
        let lines = self.clone();
        let write = move || {
            while let Some((text, dropped)) = lines.next() {
                // If standard error is closed, no other place can say so.
                let _ = out.write_all(&text);
                if dropped > 0 {
                    say(dropped);
                }
                lines.gather();
            }
            lines.lock().ended = true;
            lines.0.changed.notify_all();
        };
        thread::Builder::new().name("log".into()).spawn(write)?;
        Ok(Flush(self.clone()))
    }

    /// Waits for a line, and takes all there are. `None` at the end.
    fn next(&self) -> Option<(Vec<u8>, u64)> {
        let mut waiting = self.lock();
        waiting.idle = true;
        waiting = self.0.changed.wait_while(waiting, |waiting| !waiting.ending && waiting.lines.is_empty()).unwrap_or_else(PoisonError::into_inner);
        waiting.idle = false;
        if waiting.lines.is_empty() { None } else { Some((take(&mut waiting.lines), take(&mut waiting.dropped))) }
    }

    /// After a pause a line is written at once, and those that follow it together.
    fn gather(&self) {
        let few = |waiting: &mut Waiting| !waiting.ending && waiting.lines.len() < BATCH;
        drop(self.0.changed.wait_timeout_while(self.lock(), GATHER, few));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Takes each write when it is allowed to.
    struct Gated {
        allowed: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.allowed.recv();
            let _ = self.written.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Held {
        lines: Lines,
        flush: Flush,
        allow: Sender<()>,
        written: Receiver<Vec<u8>>,
        said: Receiver<u64>,
    }

    /// A writer that is held up with a first line.
    fn held() -> Held {
        let ((allow, allowed), (write, written), (say, said), lines) = (channel(), channel(), channel(), Lines::default());
        let flush = lines.write_to(Gated { allowed, written: write }, move |dropped| say.send(dropped).unwrap()).unwrap();
        (&lines).write_all(b"first\n").unwrap();
        while !lines.lock().lines.is_empty() {
            thread::yield_now();
        }
        Held { lines, flush, allow, written, said }
    }

    #[test]
    fn nobody_waits_for_the_writer_and_the_end_writes_everything() {
        let Held { lines, flush, allow, written, said } = held();
        let numbered: Vec<String> = (0..100).map(|number| format!("line {number}\n")).collect();
        for line in &numbered {
            (&lines).write_all(line.as_bytes()).unwrap();
        }
        drop(allow);
        drop(flush);
        let all: Vec<u8> = written.try_iter().flatten().collect();
        assert_eq!(String::from_utf8(all).unwrap(), format!("first\n{}", numbered.concat()));
        assert_eq!(said.try_iter().count(), 0);
    }

    #[test]
    fn lines_without_room_are_counted_and_said() {
        let Held { lines, flush, allow, written, said } = held();
        let line = vec![b'x'; 64 << 10];
        for _ in 0..6 {
            (&lines).write_all(&line).unwrap();
        }
        assert_eq!(lines.lock().lines.len(), ROOM);
        drop(allow);
        assert_eq!(said.recv(), Ok(2));
        (&lines).write_all(b"last\n").unwrap();
        drop(flush);
        assert_eq!(written.try_iter().map(|text| text.len()).sum::<usize>(), 6 + ROOM + 5);
        assert_eq!(said.try_iter().count(), 0, "they are said once");
    }

    #[test]
    fn the_end_wakes_a_writer_that_has_nothing_to_write() {
        let Held { lines, flush, allow, .. } = held();
        drop(allow);
        while !lines.lock().idle {
            thread::yield_now();
        }
        drop(flush);
        assert!(lines.lock().ended);
    }

    #[test]
    fn the_end_waits_only_so_long_for_a_reader_that_reads_nothing() {
        let Held { lines, flush, allow, written, said: _said } = held();
        (&lines).write_all(b"second\n").unwrap();
        let (end, ended) = channel();
        thread::spawn(move || {
            drop(flush);
            end.send(()).unwrap();
        });
        assert_eq!(ended.recv_timeout(PATIENCE * 30), Ok(()));
        assert_eq!(written.try_iter().count(), 0);
        drop(allow);
    }
}
