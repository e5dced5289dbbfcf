//! Range requests to a web server whose answers are not trusted.

use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ureq::Agent;
use ureq::http::{HeaderMap, StatusCode, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// How long to wait for a connection, and for the next bytes of an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A file on a server.
pub(crate) struct Server {
    agent: Agent,
    url: String,
    /// The token that identifies the user to a hub.
    token: Option<String>,
    /// The file's length and version, from the first answer to a range request.
    file_len: Option<u64>,
    version: Option<String>,
    requests: u64,
    bytes_read: u64,
}

/// The answer to a range request.
pub(crate) enum Answer<'a> {
    /// Bytes from the start of the range, perhaps fewer than requested; none past the file's end.
    Part(Part<'a>),
    /// The file from its start: the server does not support ranges.
    Whole(Box<dyn Read + 'a>),
}

/// A part of the file that is being received.
pub(crate) struct Part<'a> {
    body: Box<dyn Read + 'a>,
    len: u64,
}

impl Server {
    pub(crate) fn new(url: &str) -> Result<Self> {
        if !["http://", "https://"].iter().any(|scheme| url.to_ascii_lowercase().starts_with(scheme)) {
            bail!("not a URL that begins with http:// or https://");
        }
        let uri: Uri = url.parse().with_context(|| format!("'{url}' is not a URL"))?;
        let has_port = uri.authority().is_some_and(|authority| {
            authority.as_str().rsplit(['@', ']']).next().is_some_and(|host| host.contains(':'))
        });
        if has_port && uri.port_u16().is_none_or(|port| port == 0) {
            bail!("the port of '{url}' is no number from 1 to 65535");
        }
        let roots = match std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) {
            Some(path) => certificates(Path::new(&path))?,
            None => RootCerts::WebPki,
        };
        let agent = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .http_status_as_error(false)
            .accept_encoding("identity")
            .user_agent(concat!("gguf-codec/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(PATIENCE))
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .build()
            .new_agent();
        Ok(Server {
            agent,
            url: url.into(),
            token: None,
            file_len: None,
            version: None,
            requests: 0,
            bytes_read: 0,
        })
    }

    /// Sends the token that identifies the user to a hub. No other server gets the token, even if the hub redirects there.
    pub(crate) fn authorized(self, token: Option<String>) -> Self {
        Server { token, ..self }
    }

    /// The file's length, if the server has sent it.
    pub(crate) fn file_len(&self) -> Option<u64> {
        self.file_len
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Requests `len` bytes from offset `from`. Dropping the part does not wait for the rest of the answer.
    pub(crate) fn range(&mut self, from: u64, len: u64) -> Result<Answer<'_>> {
        let last = from.saturating_add(len.max(1)) - 1;
        self.requests += 1;
        let mut asked = self.agent.get(&self.url).header(header::RANGE, format!("bytes={from}-{last}"));
        if let Some(token) = &self.token {
            asked = asked.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = asked.call()?;
        let (status, headers) = (response.status(), response.headers().clone());
        match status {
            StatusCode::PARTIAL_CONTENT => {
                let range = content_range(&headers)
                    .context("the server sends a part of the file and does not say which (Content-Range)")?;
                let Some((first, end)) = range.bytes.filter(|&(first, end)| first == from && end <= last)
                else {
                    bail!("the server answered {} when asked for bytes {from}-{last}", range.shown);
                };
                self.same_file(range.file_len, &headers)?;
                let len = end - first + 1;
                let body = self.counted(response.into_body().into_reader().take(len));
                Ok(Answer::Part(Part { body, len }))
            }
            // There is nothing past the end of the file.
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let file_len = content_range(&headers).and_then(|range| range.file_len);
                if file_len.is_some_and(|len| from < len) {
                    bail!("the server has no byte {from} of a file of {} bytes", file_len.unwrap_or(0));
                }
                self.same_file(file_len, &headers)?;
                Ok(Answer::Part(Part { body: Box::new(io::empty()), len: 0 }))
            }
            StatusCode::OK => {
                let body = response.into_body().into_reader();
                Ok(Answer::Whole(self.counted(body)))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                bail!("the server answered {status}: of the hub, HF_TOKEN gives what its user may see")
            }
            other => bail!("the server answered {other}"),
        }
    }

    /// Fails if the file changes while it is read.
    fn same_file(&mut self, len: Option<u64>, headers: &HeaderMap) -> Result<()> {
        let version = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let other_len = self.file_len.zip(len).is_some_and(|(before, now)| before != now);
        let other_version =
            self.version.as_ref().zip(version.as_ref()).is_some_and(|(before, now)| before != now);
        if other_len || other_version {
            bail!("the file on the server changed while it was read");
        }
        self.file_len = self.file_len.or(len);
        self.version = self.version.take().or(version);
        Ok(())
    }

    fn counted<'a, R: Read + 'a>(&'a mut self, body: R) -> Box<dyn Read + 'a> {
        Box::new(Counted { body, count: &mut self.bytes_read, begun: Instant::now(), read: 0 })
    }
}

impl Part<'_> {
    /// Appends the whole part and returns its length. Calls `step` with the number of bytes as they arrive.
    pub(crate) fn read_into(&mut self, out: &mut Vec<u8>, mut step: impl FnMut(u64)) -> Result<u64> {
        let mut buffer = [0; 64 * 1024];
        let mut read = 0;
        while read < self.len {
            let bytes = match self.body.read(&mut buffer) {
                Ok(0) => bail!("the server sent {read} bytes where it promised {}", self.len),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(error)
                        .context(format!("the answer broke off after {read} bytes of {}", self.len));
                }
            };
            out.try_reserve(bytes).context("there is not enough memory")?;
            out.extend_from_slice(&buffer[..bytes]);
            read += bytes as u64;
            step(bytes as u64);
        }
        Ok(read)
    }
}

struct Counted<'a, R> {
    body: R,
    count: &'a mut u64,
    begun: Instant,
    read: u64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(buffer)?;
        *self.count += read as u64;
        self.read += read as u64;
        if read > 0 && is_too_slow(self.read, self.begun.elapsed()) {
            let problem = "the server sends less than 1 kB a second";
            return Err(io::Error::new(io::ErrorKind::TimedOut, problem));
        }
        Ok(read)
    }
}

/// Whether the transfer is so slow that it could take days, as from a server that sends a byte now and then.
fn is_too_slow(bytes: u64, elapsed: Duration) -> bool {
    elapsed > PATIENCE && u128::from(bytes) < elapsed.as_millis()
}

/// The contents of a Content-Range header.
struct ContentRange {
    /// The first and the last byte.
    bytes: Option<(u64, u64)>,
    file_len: Option<u64>,
    shown: String,
}

/// `bytes 0-99/1000`, `bytes 0-99/*` or `bytes */1000`.
fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    let shown = headers.get(header::CONTENT_RANGE)?.to_str().ok()?.trim();
    let (range, len) = shown.strip_prefix("bytes")?.trim_start().split_once('/')?;
    let bytes = range.split_once('-').and_then(|(first, last)| {
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first <= last).then_some((first, last))
    });
    Some(ContentRange { bytes, file_len: len.trim().parse().ok(), shown: shown.into() })
}

/// The certificates that are trusted instead of the built-in root certificates, as needed with a proxy that intercepts TLS.
fn certificates(path: &Path) -> Result<RootCerts> {
    let shown = path.display();
    let pem =
        std::fs::read(path).with_context(|| format!("cannot read '{shown}', which SSL_CERT_FILE names"))?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.with_context(|| format!("'{shown}'"))? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        bail!("'{shown}', which SSL_CERT_FILE names, has no certificate");
    }
    Ok(RootCerts::new_with_certs(&found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_now_and_then_is_too_slow() {
        assert!(!is_too_slow(1, PATIENCE));
        assert!(is_too_slow(1000, PATIENCE + Duration::from_secs(1)));
        assert!(!is_too_slow(100_000, PATIENCE + Duration::from_secs(1)));
    }
}
