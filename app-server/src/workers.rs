//! The threads that serve connections, each with a runtime of its own. A connection stays on the thread that it was given: what
//! wakes it never crosses threads, and all that one round of events brings shares one wait for the next.

use std::future::{Future, pending};
use std::io;
use std::net::TcpStream as StandardStream;
use std::thread::{self, available_parallelism};

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};

pub(crate) struct Workers {
    /// The first is that of the thread that accepts.
    runtimes: Vec<Handle>,
    next: usize,
}

impl Workers {
    /// Provides a thread for every two processors. The first is the one that calls, in its runtime: what accepts connections and
    /// looks up accounts then wakes nobody across threads on a small machine. The others end with the process. Passing statements on is the kernel's
    /// work for nine tenths (measured: `benches/app-server`), and that needs the other half.
    pub(crate) fn start() -> io::Result<Self> {
        let count = available_parallelism().map_or(1, |processors| processors.get().div_ceil(2));
        let mut runtimes = vec![Handle::current()];
        for number in 1..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtimes.push(runtime.handle().clone());
            let name = format!("connections-{number}");
            thread::Builder::new().name(name).spawn(move || runtime.block_on(pending::<()>()))?;
        }
        Ok(Self { runtimes, next: 0 })
    }

    /// Where what is not a connection may run that opens database sessions for connections.
    pub(crate) fn first(&self) -> Handle {
        self.runtimes[0].clone()
    }

    /// Gives a connection to the next thread, which runs what `serve` makes of it.
    pub(crate) fn spawn<Served>(
        &mut self,
        socket: TcpStream,
        serve: impl FnOnce(io::Result<TcpStream>) -> Served + Send + 'static,
    ) where
        Served: Future<Output = ()> + Send + 'static,
    {
        if self.next == 0 {
            tokio::spawn(serve(Ok(socket)));
        } else {
            // A runtime hears only of sockets that were made on it.
            let socket = socket.into_std();
            let enter = |socket: StandardStream| TcpStream::from_std(socket);
            self.runtimes[self.next].spawn(async move { serve(socket.and_then(enter)).await });
        }
        self.next = (self.next + 1) % self.runtimes.len();
    }
}
