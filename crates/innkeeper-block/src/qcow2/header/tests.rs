use super::*;

fn header() -> Header {
    Header {
        version: 3,
        cluster_bits: 16,
        size: 1 << 30,
        l1_size: 2,
        l1_offset: 0x3_0000,
        refcount_table_offset: 0x1_0000,
        refcount_table_clusters: 1,
        refcount_order: 4,
        snapshot_count: 0,
        snapshots_offset: 0,
        incompatible: 0,
        compatible: LAZY_REFCOUNTS,
        autoclear: 0,
        compression: Compression::Zlib,
        backing_file: Some("base.raw".into()),
        backing_format: Some("raw".into()),
        data_file: None,
        extensions: vec![Extension::feature_names(), Extension { kind: 0x1234_5678, data: vec![1, 2, 3] }],
        further: vec![],
    }
}

fn refusal(bytes: &[u8]) -> String {
    Header::parse(bytes, 1 << 20).unwrap_err().to_string()
}

/// A valid header with some bytes replaced.
fn spoiled(at: usize, with: &[u8]) -> String {
    let mut bytes = header().serialise().unwrap();
    bytes[at..at + with.len()].copy_from_slice(with);
    refusal(&bytes)
}

#[test]
fn a_header_comes_back_as_it_was_written() {
    let zstd = Header { compression: Compression::Zstd, incompatible: COMPRESSION_TYPE | DIRTY, ..header() };
    let old = Header { version: 2, compatible: 0, extensions: vec![], ..header() };
    let longer = Header { further: vec![7; 16], ..header() };
    for header in [header(), zstd, old] {
        assert_eq!(Header::parse(&header.serialise().unwrap(), 1 << 20).unwrap(), header);
    }
    let bytes = longer.serialise().unwrap();
    assert_eq!(Header::parse(&bytes, 1 << 20).unwrap(), longer);
}

#[test]
fn every_field_has_its_limit() {
    assert!(refusal(b"QFI").contains("not a qcow2"));
    assert!(refusal(b"QFI\xfb\0\0\0\x03").contains("ends within its header"));
    assert!(spoiled(4, &4u32.to_be_bytes()).contains("version 4"));
    assert!(spoiled(20, &8u32.to_be_bytes()).contains("cluster bits 8"));
    assert!(spoiled(20, &22u32.to_be_bytes()).contains("cluster bits 22"));
    assert!(spoiled(24, &u64::MAX.to_be_bytes()).contains("size"));
    assert!(spoiled(24, &(1u64 << 62).to_be_bytes()).contains("needs"));
    assert!(spoiled(32, &1u32.to_be_bytes()).contains("encrypted"));
    assert!(spoiled(36, &u32::MAX.to_be_bytes()).contains("L1 table of 4294967295"));
    assert!(spoiled(40, &0x3_0200u64.to_be_bytes()).contains("L1 table's offset"));
    assert!(spoiled(40, &(1u64 << 62).to_be_bytes()).contains("beyond the image's end"));
    assert!(spoiled(48, &0u64.to_be_bytes()).contains("refcount table's offset"));
    assert!(spoiled(56, &u32::MAX.to_be_bytes()).contains("refcount table of"));
    assert!(spoiled(60, &u32::MAX.to_be_bytes()).contains("snapshots"));
    assert!(spoiled(96, &7u32.to_be_bytes()).contains("refcount order 7"));
    assert!(spoiled(100, &96u32.to_be_bytes()).contains("header length 96"));
    assert!(spoiled(100, &u32::MAX.to_be_bytes()).contains("header length"));
    assert!(spoiled(104, &[1]).contains("compression type"));
    assert!(spoiled(8, &u64::MAX.to_be_bytes()).contains("backing file's name"));
    assert!(spoiled(16, &2000u32.to_be_bytes()).contains("2000 bytes"));
    assert!(spoiled(116, &u32::MAX.to_be_bytes()).contains("header extension"));
}

#[test]
fn an_unknown_incompatible_feature_is_named_as_the_image_names_it() {
    let mut header = header();
    let Some(table) = header.extensions.first_mut() else { unreachable!() };
    table.data[1] = 40;
    table.data[2..11].copy_from_slice(b"wormholes");
    header.incompatible = 1 << 40 | 1 << 50;
    let text = refusal(&header.serialise().unwrap());
    assert!(text.ends_with("unknown incompatible features: wormholes, bit 50"), "{text}");
}

#[test]
fn a_name_that_does_not_fit_is_refused() {
    let long = Header { backing_file: Some("x".repeat(1024)), ..header() };
    assert!(long.serialise().unwrap_err().to_string().contains("1024"));
    let small = Header { cluster_bits: 9, backing_file: Some("x".repeat(500)), ..header() };
    assert!(small.serialise().unwrap_err().to_string().contains("cluster has 512"));
}
