//! Compiles the `.proto` files without a system `protoc`, since protox parses them.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["proto/opaque/v1/query.proto", "proto/opaque/v1/shard.proto"];
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
