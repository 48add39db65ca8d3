use super::*;
use crate::medium::Memory;

/// An image of 512-byte clusters with the header in cluster 0, the table in 1 and a block in 2 that counts them.
fn image(order: u32) -> (Arc<Memory>, Header) {
    let geometry = Geometry { cluster_bits: 9, refcount_order: order, extended_l2: false };
    let header = Header { l1_offset: 0, ..Header::empty(3, geometry, 0) };
    let memory = Arc::new(Memory::new(&header.serialise().unwrap()));
    memory.write_all(512, &1024u64.to_be_bytes()).unwrap();
    let mut block = vec![0; 512];
    (0..3).for_each(|index| tables::set_refcount(&mut block, order, index, 1));
    memory.write_all(1024, &block).unwrap();
    (memory, header)
}

fn load(memory: &Arc<Memory>, header: &Header) -> Refcounts {
    Refcounts::load(Arc::clone(memory) as _, header).unwrap()
}

/// As the image's own header says by now.
fn reload(memory: &Arc<Memory>) -> Refcounts {
    let bytes = memory.bytes();
    load(memory, &Header::parse(&bytes, bytes.len() as u64).unwrap())
}

#[test]
fn what_is_taken_is_counted_once_and_never_given_twice() {
    for order in 0..=6 {
        let (memory, header) = image(order);
        let mut refcounts = load(&memory, &header);
        let mut taken = HashSet::from([0]); // the header
        // Far beyond what the first table can count, so that it moves several times.
        while taken.len() < 60_000 {
            let got = refcounts.allocate(1 + taken.len() as u64 % 7).unwrap();
            for cluster in got.offset / 512..got.offset / 512 + got.count {
                assert!(taken.insert(cluster), "cluster {cluster} given twice, order {order}");
                assert!(!refcounts.is_metadata(cluster));
            }
        }
        refcounts.write_back().unwrap();
        let mut again = reload(&memory);
        assert_eq!(again.table_location(), refcounts.table_location());
        let blocks: HashSet<u64> = again.block_offsets().map(|offset| offset / 512).collect();
        let (table, length) = again.table_location();
        for cluster in 0..again.end() {
            let table = (table / 512..table / 512 + u64::from(length)).contains(&cluster);
            let used = taken.contains(&cluster) || blocks.contains(&cluster) || table;
            assert_eq!(again.get(cluster).unwrap(), u64::from(used), "cluster {cluster}, order {order}");
        }
    }
}

#[test]
fn what_is_freed_is_taken_again() {
    let (memory, header) = image(4);
    let mut refcounts = load(&memory, &header);
    let first = refcounts.allocate_all(10).unwrap();
    assert!(first.fresh);
    refcounts.change(first.offset / 512 + 3, false).unwrap();
    refcounts.change(first.offset / 512 + 5, false).unwrap();
    let pair = refcounts.allocate_all(2).unwrap();
    assert_eq!(pair.offset, first.offset + 10 * 512, "two neighbours are only behind");
    let again = refcounts.allocate(5).unwrap();
    assert_eq!(again, Allocation { offset: first.offset + 3 * 512, count: 1, fresh: false });
    assert_eq!(refcounts.allocate(5).unwrap().offset, first.offset + 5 * 512);
    assert_eq!(memory.size().unwrap() % GROWTH, 0);
    refcounts.trim().unwrap();
    assert_eq!(memory.size().unwrap(), refcounts.end() * 512);
}

#[test]
fn counts_have_limits() {
    let (memory, header) = image(1);
    let mut refcounts = load(&memory, &header);
    let cluster = refcounts.allocate(1).unwrap().offset / 512;
    assert_eq!(refcounts.change(cluster, true).unwrap(), 2);
    assert_eq!(refcounts.change(cluster, true).unwrap(), 3);
    assert!(refcounts.change(cluster, true).unwrap_err().to_string().contains("its refcounts end at 3"));
    assert!(refcounts.change(cluster + 1, false).unwrap_err().to_string().contains("counted as free"));
    assert!(refcounts.change(1 << 40, true).is_err());
}

#[test]
fn a_table_that_is_counted_as_free_is_not_given_away() {
    let (memory, header) = image(4);
    memory.write_all(1024, &[0, 1, 0, 0, 0, 1]).unwrap(); // the refcount table's cluster: 0
    let mut refcounts = load(&memory, &header);
    assert!(refcounts.allocate(1).unwrap_err().to_string().contains("check and repair"));
}
