//! Processes that are killed while they merge shards and remove them.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use gguf_codec::model::{Input, Merge, Split};

use super::{Rng, STEP, child_command, names};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample.gguf");

/// The work of a child process: it merges, and ends abruptly at a step.
pub(super) fn consume_until(target: &Path, last: usize) -> ! {
    let mut steps = 0;
    let shard = target.with_file_name("m-00001-of-00003.gguf");
    let merged = Merge::new().consume_with(shard, target, |_, _| {
        steps += 1;
        if steps == last {
            std::process::abort();
        }
        ControlFlow::Continue(())
    });
    if let Err(error) = merged {
        println!("\nerror: {error}");
        std::process::exit(1);
    }
    std::process::exit(0);
}

/// Whether a child finished its work before the step at which it would end.
fn child_ends(target: &Path, last: usize) -> bool {
    let output = child_command(&format!("consume {last}"), target).output().unwrap();
    assert!(
        output.status.success() || output.status.code().is_none(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(!output.stdout.contains(&STEP));
    output.status.success()
}

#[test]
fn a_merge_that_is_killed_at_any_step_is_finished_by_the_next() {
    let sample = fs::read(SAMPLE).unwrap();
    let mut rng = Rng::new("a_merge_that_is_killed_at_any_step_is_finished_by_the_next");
    let mut steps = 0;
    loop {
        steps += 1;
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.gguf");
        Split::by_tensors(7).run(&Input::open(SAMPLE).unwrap(), folder.path().join("m")).unwrap();
        if child_ends(&target, steps) {
            break;
        }
        assert!(!target.exists(), "step {steps}");
        // The next one is killed as well, sometimes after it has finished all work.
        let again = 1 + rng.below(12) as usize;
        if !child_ends(&target, again) {
            assert!(!target.exists(), "steps {steps} and {again}");
            Merge::new().consume(folder.path().join("m-00001-of-00003.gguf"), &target).unwrap();
        }
        assert!(fs::read(&target).unwrap() == sample, "steps {steps} and {again}");
        assert_eq!(names(folder.path()), ["out.gguf"]);
    }
    // 20 tensors, three steps for each of three shards, and two for the end.
    assert_eq!(steps, 20 + 9 + 2 + 1);
}
