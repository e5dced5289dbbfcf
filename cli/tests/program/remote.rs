//! `inspect` of files on the web: its output, how few bytes it reads, and misbehaving servers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use gguf_codec::{GgmlType, Gguf, Writer};

use crate::server::{Manner, Server};
use crate::support::*;

/// A header much longer than what is read ahead, and three tensors of 2 MB in total.
fn large() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.set_metadata("general.architecture", "llama").unwrap();
    let tokens: Vec<String> = (0..40_000).map(|i| "token ".repeat(i % 4) + &i.to_string()).collect();
    writer.set_metadata("tokenizer.ggml.tokens", tokens).unwrap();
    for name in ["before", "blk.0.w", "after"] {
        writer.declare_tensor(name, &[320, 512], GgmlType::F32).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for name in ["before", "blk.0.w", "after"] {
        data.write_tensor(name, &floats(&wave(320 * 512))).unwrap();
    }
    data.finish().unwrap()
}

fn small() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.set_byte_order(gguf_codec::ByteOrder::Big).set_metadata("general.name", "a model").unwrap();
    writer.declare_tensor("w", &[64, 2], GgmlType::F32).unwrap();
    let mut data = writer.write_header().unwrap();
    data.write_tensor("w", &[0; 512]).unwrap();
    data.finish().unwrap()
}

#[test]
fn no_more_is_read_than_the_header_64_kib_and_the_tensor() {
    let folder = Folder::new();
    let file = large();
    let gguf = Gguf::parse(&file).unwrap();
    let (header, tensor) = (gguf.header_len(), gguf.tensor_info("blk.0.w").unwrap().byte_len());
    assert!(header > 500_000, "{header}");
    let local = folder.file("m.gguf", &file);
    for manner in [Manner::Ranges, Manner::SmallRanges(50_000), Manner::Redirect] {
        let server = Server::new(file.clone(), manner);
        let shown = works("inspect", &[&server.url]);
        let sent = server.sent();
        assert!(sent >= header && sent <= header + 65536, "{sent} bytes of a header of {header}");
        assert!(shown.contains("str[40000]") && shown.contains("blk.0.w"), "{shown}");

        let header_sent = sent;
        let of_tensor = works("inspect", &[&server.url, "--tensor", "blk.0.w"]);
        let sent = server.sent() - sent;
        assert!(sent <= header + 65536 + tensor, "{sent} bytes of {header} and {tensor}");
        let (shown, read) = of_tensor.split_once("\nRead ").unwrap();
        assert_eq!(shown, works("inspect", &[&local, "--tensor", "blk.0.w"]));
        let read: u64 = read.split(' ').next().unwrap().replace(',', "").parse().unwrap();
        assert_eq!(read, tensor + header_sent);
        // One request for each part of the header whose size is known, not one for each string.
        let requests = server.requests.lock().unwrap().len();
        assert!(requests < 40 || manner == Manner::SmallRanges(50_000), "{requests} requests");
    }
}

#[test]
fn json_is_that_of_inspect() {
    let folder = Folder::new();
    let file = large();
    let local = folder.file("m.gguf", &file);
    let server = Server::new(file, Manner::Ranges);
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let mut remote = parse(&works("inspect", &[&server.url, "--json"]));
    let mut inspect = parse(&works("inspect", &[&local, "--json"]));
    let remote = remote.as_object_mut().unwrap();
    assert_eq!(remote.remove("bytes_read").unwrap().as_u64(), Some(server.sent()));
    assert_eq!(remote.remove("requests").unwrap(), server.requests.lock().unwrap().len());
    assert_eq!(remote["file"], server.url);
    let inspect = inspect.as_object_mut().unwrap();
    for object in [&mut *remote, &mut *inspect] {
        object.remove("file");
    }
    assert_eq!(remote, inspect);
    let [mut of_tensor, of_inspect] = [("inspect", &server.url), ("inspect", &local)]
        .map(|(name, file)| parse(&works(name, &[file, "--tensor", "after", "--json"])));
    for added in ["bytes_read", "requests"] {
        assert!(of_tensor.as_object_mut().unwrap().remove(added).unwrap().as_u64() > Some(0));
    }
    assert_eq!(of_tensor, of_inspect);
}

#[test]
fn a_file_shorter_than_what_is_read_ahead() {
    let server = Server::new(small(), Manner::Ranges);
    assert!(works("inspect", &[&server.url]).contains("GGUF 3, big-endian"));
    assert_eq!(works("inspect", &[&server.url, "--key", "general.name"]), "a model");
    assert!(fails("inspect", &[&server.url, "--check"]).contains("--check needs a file"));
    assert!(works("inspect", &[&server.url, "--tensor", "w"]).contains("all values are 0"));
}

#[test]
fn a_server_without_ranges_is_not_read_to_its_end() {
    let more = 1 << 28;
    let server = Server::new(large(), Manner::Whole(more));
    assert!(works("inspect", &[&server.url]).contains("str[40000]"));
    // Besides the header, only what was already in transit.
    assert!(server.sent() < more / 4, "{} bytes", server.sent());
    let line = fails("inspect", &[&server.url, "--tensor", "blk.0.w"]);
    assert!(line.contains("the server does not serve ranges"), "{line}");
}

#[test]
fn servers_that_fail_or_lie_are_told_of() {
    let file = large();
    let gguf = Gguf::parse(&file).unwrap();
    let data_offset = gguf.data_offset();
    for (manner, said) in [
        (Manner::Status("404 Not Found"), "the server answered 404 Not Found"),
        (Manner::Status("500 Internal Server Error"), "the server answered 500"),
        (Manner::Status("204 No Content"), "the server answered 204"),
        (Manner::RedirectForEver, "too many redirects"),
        (Manner::Half, "bytes of"),
        (Manner::Shifted, "the server answered bytes 1-"),
        (Manner::NoContentRange, "does not say which"),
        (Manner::FileLen(data_offset + 8), "the data of tensor 'before' ends at byte"),
        (Manner::Changing, "the file on the server changed"),
        (Manner::Forgetful, "a range first and the whole file later"),
        (Manner::NotHttp, "http"),
    ] {
        let server = Server::new(file.clone(), manner);
        let line = fails("inspect", &[&server.url, "--tensor", "blk.0.w"]);
        assert!(line.contains(said) && line.contains(&server.url), "{line}");
    }
}

#[test]
fn files_that_are_not_whole_are_told_of() {
    let file = large();
    let gguf = Gguf::parse(&file).unwrap();
    let header = gguf.header_len() as usize;
    let missing = [
        (file[..header - 10].to_vec(), "byte"),
        (file[..100].to_vec(), "byte"),
        (b"<html>not here</html>".to_vec(), "'GGUF'"),
        (file[..header + 100].to_vec(), "the data of tensor 'before' ends at byte"),
    ];
    for (bytes, said) in missing {
        for manner in [Manner::Ranges, Manner::Whole(0)] {
            let server = Server::new(bytes.clone(), manner);
            if manner == Manner::Whole(0) && bytes.len() > header {
                continue;
            }
            let line = fails("inspect", &[&server.url]);
            assert!(line.contains(said), "{line}");
        }
    }
    let server = Server::new(small(), Manner::Ranges);
    assert!(fails("inspect", &[&server.url, "--tensor", "nothing"]).contains("there is no tensor 'nothing'"));
}

#[test]
fn what_is_no_server_is_told_of() {
    // Nothing listens at a port that was just released.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/m.gguf", listener.local_addr().unwrap());
    drop(listener);
    assert!(fails("inspect", &[&url]).contains(&url));
    assert!(fails("inspect", &["ftp://127.0.0.1/m.gguf"]).contains("not a URL that begins with http://"));
    for url in ["http://127.0.0.1:99999/m.gguf", "http://127.0.0.1:0/m.gguf", "http://[::1]:70000/m"] {
        let line = fails("inspect", &[url]);
        assert!(line.contains("is no number from 1 to 65535") || line.contains("is not a URL"), "{line}");
    }
    assert!(fails("inspect", &["http://"]).contains("'http://'"));
}

#[test]
fn tensors_of_a_pattern_are_fetched_and_no_others() {
    let folder = Folder::new();
    let file = large();
    let local = folder.file("m.gguf", &file);
    let server = Server::new(file, Manner::Ranges);
    let shown = works("inspect", &[&server.url, "--tensor", "*a*t*e*r*"]);
    assert!(shown.starts_with(&works("inspect", &[&local, "--tensor", "after"])), "{shown}");
    assert!(fails("inspect", &[&server.url, "--tensor", "x*"]).contains("no tensor matches 'x*'"));
    let before = server.sent();
    let text = works("inspect", &[&server.url, "--tensor", "*e*"]);
    assert_eq!(text.matches(": F32 [320, 512], ").count(), 2, "{text}");
    assert!(server.sent() - before < 2 * 4 * 320 * 512 + 2_000_000);
}

/// Runs `inspect` with environment variables.
fn with(variables: &[(&str, &str)], args: &[&str]) -> std::process::Output {
    let mut command = gguf("inspect");
    command.args(args).envs(variables.iter().copied());
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(name);
    }
    finish(command)
}

#[test]
fn a_file_of_the_hub_is_looked_into_where_it_is() {
    let folder = Folder::new();
    let server = Server::new(small(), Manner::Redirect);
    let hub = server.url.strip_suffix("/model.gguf").unwrap();
    let (cache, name) = (folder.path("cache"), "hf:org/repo/sub/a model.gguf");
    let variables = [("HF_ENDPOINT", hub), ("HF_HUB_CACHE", &cache), ("HF_TOKEN", "a secret")];
    let output = with(&variables, &[name]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with(&format!("{name}   a model\n")), "{text}{:?}", output.stderr);
    let requests = server.requests.lock().unwrap().clone();
    assert!(requests[0].starts_with("/org/repo/resolve/main/sub/a%20model.gguf 0-"), "{requests:?}");
    assert!(
        requests[0].ends_with(" Bearer a secret") && requests[1].starts_with("/elsewhere "),
        "{requests:?}"
    );
    // No other server gets the token.
    assert!(!requests[1].contains("secret"), "{requests:?}");
    with(&[("HF_TOKEN", "a secret")], &[&server.url]);
    assert!(!server.requests.lock().unwrap()[2].contains("secret"));

    // A file that was fetched before is read from the cache.
    let snapshot = std::path::Path::new(&cache).join("models--org--repo/snapshots/abc/sub");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(snapshot.join("../../../refs")).unwrap();
    std::fs::write(snapshot.join("../../../refs/main"), "abc").unwrap();
    std::fs::write(snapshot.join("a model.gguf"), small()).unwrap();
    let asked = server.requests.lock().unwrap().len();
    let output = with(&variables, &[name]);
    assert!(String::from_utf8(output.stdout).unwrap().starts_with(&format!("{name}   a model\n")));
    assert_eq!(server.requests.lock().unwrap().len(), asked);
}

/// Answers one connection after the other with TLS, in front of a server without TLS. Returns the URL and the certificate.
fn encrypted(server: &Server) -> (String, String) {
    let key = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = key.cert.pem();
    let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![key.cert.der().clone()],
            rustls::pki_types::PrivatePkcs8KeyDer::from(key.signing_key.serialize_der()).into(),
        )
        .unwrap();
    let (config, plain) = (Arc::new(config), server.address);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/model.gguf", listener.local_addr().unwrap());
    // It ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = forward(stream.unwrap(), &config, plain);
        }
    });
    (url, certificate)
}

fn forward(
    stream: TcpStream,
    config: &Arc<rustls::ServerConfig>,
    plain: std::net::SocketAddr,
) -> std::io::Result<()> {
    let connection = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, stream);
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.extend(byte);
    }
    let mut server = TcpStream::connect(plain)?;
    server.write_all(&request)?;
    std::io::copy(&mut server, &mut stream)?;
    stream.conn.send_close_notify();
    stream.flush()
}

#[test]
fn https_is_spoken_with_servers_that_are_who_they_say() {
    let folder = Folder::new();
    let server = Server::new(small(), Manner::Ranges);
    let (url, certificate) = encrypted(&server);
    let trusted = folder.file("trusted.pem", certificate);
    let output = with(&[("SSL_CERT_FILE", &trusted)], &[&url]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("GGUF 3, big-endian"), "{text}{}", String::from_utf8_lossy(&output.stderr));

    // Without the variable, no certificate authority vouches for the server.
    let output = with(&[("SSL_CERT_FILE", "")], &[&url]);
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains("certificate") && line.contains(&url), "{line}");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let empty = folder.file("empty.pem", "");
    let output = with(&[("SSL_CERT_FILE", &empty)], &[&url]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("has no certificate"));
}

#[test]
fn a_shard_says_that_it_is_one() {
    let folder = Folder::new();
    works("split", &[SAMPLE, &folder.path("m"), "--max-tensors", "10"]);
    let server = Server::new(std::fs::read(folder.path("m-00001-of-00002.gguf")).unwrap(), Manner::Ranges);
    assert!(works("inspect", &[&server.url]).contains("One of 2 shards: the others have other tensors\n"));
}
