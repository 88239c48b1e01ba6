use super::*;

const MEGABYTE: usize = 1024 * 1024;

fn block(number: u64, size: usize) -> Arc<Block> {
    let fill = u8::try_from(number).unwrap();
    let header = BlockHeader { number, previous_hash: vec![1; 32], data_hash: vec![fill; 32] };
    let data = BlockData { data: vec![vec![fill; size], Vec::new(), b"last".to_vec()] };
    let metadata = BlockMetadata { metadata: vec![vec![], vec![2; 9]] };
    Arc::new(Block { header: Some(header), data: Some(data), metadata: Some(metadata) })
}

fn encoded(store: &BlockStore, position: Position) -> Vec<u8> {
    store.get::<Block>(position).unwrap().encode_to_vec()
}

#[test]
fn old_blocks_come_from_the_file_and_the_cache_is_bounded() {
    let store = BlockStore::with_cache(None, 4 * MEGABYTE);
    let blocks: Vec<_> = (0..20).map(|number| block(number, MEGABYTE)).collect();
    let positions: Vec<_> = blocks.iter().map(|block| store.append(Arc::clone(block), None)).collect();

    let cache = store.0.cache.lock().unwrap();
    assert!(cache.bytes() <= 4 * MEGABYTE, "{} bytes are cached", cache.bytes());
    drop(cache);
    let cached = |position: &Position| store.cached(*position).is_some();
    assert_eq!(positions.iter().filter(|position| cached(position)).count(), 3);
    assert!(cached(&positions[19]) && !cached(&positions[16]) && store.0.chunks.are_written());
    for (block, position) in blocks.iter().zip(&positions) {
        assert_eq!(encoded(&store, *position), block.encode_to_vec());
        assert_eq!(store.envelope(*position, 2).as_deref(), Some(&b"last"[..]));
        assert_eq!(store.envelope(*position, 3), None);
    }
    // The store alone holds the cached ones.
    assert_eq!(Arc::strong_count(&blocks[0]), 1);
    assert_eq!(Arc::strong_count(&blocks[19]), 2);
}

#[test]
fn blocks_without_parts_are_kept_as_they_are() {
    let store = BlockStore::with_cache(None, 0);
    let header = Some(BlockHeader { number: 1, ..BlockHeader::default() });
    let kinds = [
        Block::default(),
        Block { header: header.clone(), data: Some(BlockData::default()), metadata: None },
        Block { header, data: None, metadata: Some(BlockMetadata::default()) },
    ];
    let positions = kinds.clone().map(|block| store.append(Arc::new(block), None));
    store.append(block(9, 1), None);
    assert_eq!(positions.map(|position| Block::clone(&store.get(position).unwrap())), kinds);
}

#[test]
fn nodes_share_stored_transactions() {
    let store = BlockStore::with_cache(None, 0);
    let ordered = block(1, MEGABYTE);
    let first = store.append(Arc::clone(&ordered), None);
    let mut committed = Block::clone(&ordered);
    committed.metadata = Some(BlockMetadata { metadata: vec![vec![7; 3]] });
    let committed = Arc::new(committed);
    let before = store.0.chunks.end();
    let second = store.append(Arc::clone(&committed), Some(first));
    assert!(store.0.chunks.end() - before < 200, "{} bytes", store.0.chunks.end() - before);
    let other = store.append(block(2, MEGABYTE - 1), Some(first));

    assert_eq!(encoded(&store, first), ordered.encode_to_vec());
    assert_eq!(encoded(&store, second), committed.encode_to_vec());
    assert_eq!(encoded(&store, other), block(2, MEGABYTE - 1).encode_to_vec());
}

#[test]
fn what_cannot_be_written_stays_in_memory() {
    let store = BlockStore::with_cache(Some("/dev/null/missing".into()), 0);
    let positions = [1, 2, 3].map(|number| store.append(block(number, 100), None));
    for (number, position) in (1..).zip(positions) {
        assert_eq!(encoded(&store, position), block(number, 100).encode_to_vec());
        assert_eq!(store.envelope(position, 2).as_deref(), Some(&b"last"[..]));
    }
}
