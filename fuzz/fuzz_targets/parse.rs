//! For any bytes, the slice, the parser fed in random pieces and a reader of short reads give the same result, or fail with
//! the same error. Everything in the file can be accessed.
#![no_main]

use common::{Rng, ShortReads, describe};
use gguf_codec::{Error, Gguf, HeaderParser, HeaderProgress, Limits, Place, Problem};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits { max_header_bytes: 1 << 20, ..Limits::default() };
    let whole = describe(&HeaderParser::new(limits).finish(data));

    let (mut rng, mut shown, mut parser) = (Rng::new(data), 0, HeaderParser::new(limits));
    let in_pieces = loop {
        match parser.advance(&data[..shown]) {
            Ok(HeaderProgress::NeedMore(more)) if shown < data.len() => {
                if let Ok(gguf) = Gguf::read_header(data) {
                    assert!(shown as u64 + more <= gguf.header_len(), "asks for bytes behind the header");
                }
                shown += 1 + rng.below(data.len() - shown);
            }
            Ok(_) => break describe(&parser.finish(&data[..shown])),
            Err(error) => break Err(format!("{error:?}")),
        }
    };
    assert_eq!(whole, in_pieces);

    let mut reader = ShortReads { data, rng };
    let read = Gguf::options().limits(limits).read_header(&mut reader);
    assert_eq!(whole, describe(&read));
    if let Ok(gguf) = read {
        assert_eq!((data.len() - reader.data.len()) as u64, gguf.header_len(), "reads past the header");
    }

    match Gguf::options().limits(limits).parse(data) {
        // The rules that only a whole file can break.
        Err(Error::Malformed { problem: Problem::DataBeyondEnd { .. }, .. })
        | Err(Error::Malformed { place: Place::Padding, .. }) => assert!(whole.is_ok()),
        parsed => assert_eq!(whole, describe(&parsed)),
    }
});
