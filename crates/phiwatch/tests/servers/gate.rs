//! A wire between the program and a real server that can be held.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

const TICK: Duration = Duration::from_millis(5);

/// Passes bytes on; from the server only up to a limit.
pub(crate) struct Gate {
    pub address: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    passed: AtomicU64,
    limit: AtomicU64,
}

impl Gate {
    /// Listens before `server` (`host:port`); ends with the test's process.
    pub(crate) fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State { limit: AtomicU64::new(u64::MAX), ..State::default() });
        let (shared, server) = (state.clone(), server.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                shared.join(client, TcpStream::connect(&server).unwrap());
            }
        });
        Self { address, state }
    }

    /// From now on the server's next `bytes` pass, and no more.
    pub(crate) fn hold_after(&self, bytes: u64) {
        self.state.limit.store(self.state.passed.load(Ordering::SeqCst) + bytes, Ordering::SeqCst);
    }

    /// Whether what was let through has passed.
    pub(crate) fn is_holding(&self) -> bool {
        self.state.passed.load(Ordering::SeqCst) >= self.state.limit.load(Ordering::SeqCst)
    }

    /// All passes again.
    pub(crate) fn release(&self) {
        self.state.limit.store(u64::MAX, Ordering::SeqCst);
    }
}

impl State {
    fn join(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let again = |stream: &TcpStream| stream.try_clone().unwrap();
        let (up, down) = ((again(&client), again(&server)), (server, client));
        std::thread::spawn(move || pass(up, |_| {}));
        let state = self.clone();
        std::thread::spawn(move || {
            pass(down, |bytes| {
                let before = state.passed.fetch_add(bytes, Ordering::SeqCst);
                while before + bytes > state.limit.load(Ordering::SeqCst) {
                    std::thread::sleep(TICK);
                }
            });
        });
    }
}

/// Until either side closes; `wait` is asked before bytes go on.
fn pass((mut from, mut to): (TcpStream, TcpStream), wait: impl Fn(u64)) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        wait(bytes as u64);
        if to.write_all(&buffer[..bytes]).is_err() {
            break;
        }
    }
    // One side is gone; the other one may be, too.
    let _closed = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
