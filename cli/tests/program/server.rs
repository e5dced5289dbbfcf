//! A server on this machine, for tests of `inspect` with files on the web.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// How a server answers.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Manner {
    Ranges,
    /// This many bytes at a time, fewer than requested.
    SmallRanges(u64),
    /// The whole file, followed by this many zeros, whatever is requested.
    Whole(u64),
    Status(&'static str),
    /// Redirects to a server that supports ranges.
    Redirect,
    RedirectForEver,
    /// Promises the whole answer and sends half.
    Half,
    /// Starts one byte late, and says so.
    Shifted,
    /// Does not say which range it sends.
    NoContentRange,
    /// Claims that the file ends here.
    FileLen(u64),
    /// A different version each time.
    Changing,
    /// Ranges at first, later the whole file.
    Forgetful,
    NotHttp,
}

/// A server on this machine that counts the bytes it sends of its file.
pub(crate) struct Server {
    pub(crate) url: String,
    sent: Arc<AtomicU64>,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    pub(crate) address: std::net::SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn new(file: Vec<u8>, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sent, requests, stop) = (Arc::default(), Arc::default(), Arc::default());
        let mut served = Served { file, manner, sent: Arc::clone(&sent), requests: Arc::clone(&requests) };
        let stopped: Arc<AtomicBool> = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                // The client may have closed the connection.
                let _ = served.answer(stream.unwrap());
            }
        });
        Server {
            url: format!("http://{address}/model.gguf"),
            sent,
            requests,
            stop,
            address,
            thread: Some(thread),
        }
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

struct Served {
    file: Vec<u8>,
    manner: Manner,
    sent: Arc<AtomicU64>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Served {
    fn answer(&mut self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let path =
            lines.next().unwrap_or_else(|| Ok(String::new()))?.split(' ').nth(1).unwrap_or("").to_owned();
        let mut range = (0, u64::MAX);
        let mut known = String::new();
        for line in lines {
            let line = line?;
            if line.is_empty() {
                break;
            }
            if let Some((_, token)) =
                line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("authorization"))
            {
                known = token.to_owned();
            }
            let line = line.to_ascii_lowercase();
            if let Some(asked) = line.strip_prefix("range: bytes=") {
                let (first, last) = asked.split_once('-').unwrap();
                range = (first.parse().unwrap(), last.parse().unwrap());
            }
        }
        let number = {
            let mut requests = self.requests.lock().unwrap();
            requests.push(format!("{path} {}-{}{known}", range.0, range.1));
            requests.len()
        };
        let len = self.file.len() as u64;
        let (mut first, mut last) = (range.0, range.1.min(len - 1));
        let (mut said_len, mut tag, mut says_range) = (len, 1, true);
        match self.manner {
            Manner::NotHttp => return stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n"),
            Manner::Status(status) => {
                return write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
            Manner::Redirect if path == "/elsewhere" => {}
            Manner::Redirect | Manner::RedirectForEver => {
                return write!(
                    stream,
                    "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
            }
            Manner::Whole(more) => return self.whole(stream, more),
            Manner::Forgetful if number > 1 => return self.whole(stream, 0),
            Manner::SmallRanges(most) => last = last.min(first + most - 1),
            Manner::Shifted => first += 1,
            Manner::NoContentRange => says_range = false,
            Manner::FileLen(len) => said_len = len,
            Manner::Changing => tag = number,
            Manner::Ranges | Manner::Half | Manner::Forgetful => {}
        }
        if first >= len {
            return write!(
                stream,
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{len}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
        let body = &self.file[first as usize..=last as usize];
        write!(stream, "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\n", body.len())?;
        write!(stream, "ETag: \"{tag}\"\r\nConnection: close\r\n")?;
        if says_range {
            write!(stream, "Content-Range: bytes {first}-{last}/{said_len}\r\n")?;
        }
        stream.write_all(b"\r\n")?;
        let body = if self.manner == Manner::Half { &body[..body.len() / 2] } else { body };
        self.send(&mut stream, body)
    }

    fn whole(&self, mut stream: TcpStream, more: u64) -> std::io::Result<()> {
        let len = self.file.len() as u64 + more;
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n")?;
        self.send(&mut stream, &self.file)?;
        let zeros = [0; 1 << 16];
        let mut left = more;
        while left > 0 {
            let part = &zeros[..left.min(1 << 16) as usize];
            self.send(&mut stream, part)?;
            left -= part.len() as u64;
        }
        Ok(())
    }

    fn send(&self, stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
        for part in bytes.chunks(1 << 14) {
            stream.write_all(part)?;
            self.sent.fetch_add(part.len() as u64, Ordering::Relaxed);
        }
        stream.flush()
    }
}
