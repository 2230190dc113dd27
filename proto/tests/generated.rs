//! The generated code is what the generator makes of the .proto files today.

use std::{fs, path::Path};

use prost::Message;

#[test]
fn the_committed_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let protos = ["nibble/v1/coordinator.proto", "nibble/v1/enrolment.proto"];
    let descriptors = protox::compile(protos, [root.join("proto")]).unwrap();
    let out = tempfile::tempdir().unwrap();
    let bytes = descriptors.encode_to_vec();
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".")
        .out_dir(out.path())
        .compile_fds(descriptors)
        .unwrap();
    let committed = root.join("src/generated");
    let made = [("nibble.v1.rs", fs::read(out.path().join("nibble.v1.rs")).unwrap()), ("descriptors.bin", bytes)];
    for (name, made) in made {
        if std::env::var_os("NIBBLE_REGENERATE").is_some() {
            fs::write(committed.join(name), &made).unwrap();
        }
        let committed = fs::read(committed.join(name)).unwrap();
        assert!(committed == made, "{name} is out of date: NIBBLE_REGENERATE=1 cargo test -p nibble-proto");
    }
}
