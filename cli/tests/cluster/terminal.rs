//! A program in a pseudo-terminal, and what it shows there.

use std::{
    fs::File,
    io::{Read, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags, open},
    process::{ioctl_tiocsctty, setsid},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    stdio::stdin,
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};

use super::harness::PATIENCE;

/// A program that reads keys from a terminal of its own. It is killed when dropped.
pub(crate) struct Terminal {
    keys: File,
    child: Child,
    /// Everything that was shown.
    shown: Arc<Mutex<Vec<u8>>>,
    /// Bytes of it that [`Terminal::until`] has gone past, in text without escape sequences.
    past: usize,
}

impl Terminal {
    /// Starts a program in a terminal of this size.
    pub(crate) fn start(mut command: Command, rows: u16, columns: u16) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let user = open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let user = File::from(user);
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&controller, size).unwrap();
        let stream = || Stdio::from(user.try_clone().unwrap());
        command.stdin(stream()).stdout(stream()).stderr(stream()).env("TERM", "xterm-256color");
        // SAFETY: between fork and exec only two system calls are made, and nothing is allocated.
        #[expect(unsafe_code, reason = "a call in the child, before its program starts")]
        unsafe {
            command.pre_exec(|| {
                // Ctrl-C sends a signal only in the terminal of the program's session.
                setsid()?;
                Ok(ioctl_tiocsctty(stdin())?)
            });
        }
        let child = command.spawn().unwrap();
        let keys = File::from(controller);
        let (mut screen, mut answers) = (keys.try_clone().unwrap(), keys.try_clone().unwrap());
        let shown: Arc<Mutex<Vec<u8>>> = Arc::default();
        let all = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The read fails once the program has ended.
            while let Ok(read @ 1..) = screen.read(&mut bytes) {
                let read = &bytes[..read];
                // The program asks where the cursor is, as it may ask any terminal.
                for _ in read.windows(4).filter(|asked| *asked == b"\x1b[6n") {
                    let _ = answers.write_all(b"\x1b[1;1R");
                }
                all.lock().unwrap().extend(read);
            }
        });
        Self { keys, child, shown, past: 0 }
    }

    /// Types keys, as a terminal sends them.
    pub(crate) fn keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Types a text and Enter, waits until a text is shown, and returns all that was shown before it.
    pub(crate) fn enter(&mut self, keys: &str, shown: &str) -> String {
        self.keys(&format!("{keys}\r"));
        self.until(shown)
    }

    /// Waits until a text is shown after the text of the last call. Returns what is between them.
    pub(crate) fn until(&mut self, text: &str) -> String {
        let mut found = String::new();
        self.wait(&format!("{text:?} is shown"), |terminal| {
            let plain = terminal.plain();
            let rest = &plain[terminal.past.min(plain.len())..];
            let Some(at) = rest.find(text) else { return false };
            found = rest[..at].to_owned();
            terminal.past += at + text.len();
            true
        });
        found
    }

    /// Presses Ctrl-C until a text is shown, each time only if the terminal turns it into a signal:
    /// at the prompt it is a key.
    pub(crate) fn interrupt_until(&mut self, text: &str) {
        self.wait(&format!("Ctrl-C shows {text:?}"), |terminal| {
            let plain = terminal.plain();
            let rest = &plain[terminal.past.min(plain.len())..];
            if let Some(at) = rest.find(text) {
                terminal.past += at + text.len();
                return true;
            }
            let modes = tcgetattr(&terminal.keys).unwrap().local_modes;
            if modes.contains(LocalModes::ISIG) {
                terminal.keys("\x03");
            }
            false
        });
    }

    /// Waits for the program's end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let mut ended = None;
        self.wait("the program ends", |terminal| {
            ended = terminal.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }

    /// Everything that was shown, without escape sequences.
    pub(crate) fn plain(&self) -> String {
        plain(&String::from_utf8_lossy(&self.shown.lock().unwrap()))
    }

    fn wait(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> bool) {
        let started = Instant::now();
        while !condition(self) {
            assert!(started.elapsed() < PATIENCE, "waited in vain until {what}: {}", self.plain());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A text without the escape sequences that move the cursor and set colors. One that is cut off at
/// the end is dropped.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('\x1b', Some('[')) => {
                rest.next();
                rest.find(|c| ('@'..='~').contains(c));
            }
            ('\x1b', Some(']')) => {
                rest.find(|c| *c == '\x07' || *c == '\\');
            }
            ('\x1b', _) => {
                rest.next();
            }
            ('\r', _) => {}
            _ => plain.push(c),
        }
    }
    plain
}
