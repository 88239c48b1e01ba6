//! Creates the next block of a chain, with metadata and signatures as in Fabric
//! (`orderer/common/multichannel/blockwriter.go`, `orderer/consensus/smartbft`).

use fabric_primitives::block::data_hash;
use fabric_protos::common::{
    Block, BlockData, BlockHeader, BlockMetadata, BlockMetadataIndex, IdentifierHeader, LastConfig, Metadata,
    MetadataSignature, OrdererBlockMetadata, SignatureHeader,
};
use prost::Message as _;

use crate::ledger::{header_der, header_hash};
use crate::signer::{Signer, SignerError};

/// The number of entries in a block's metadata.
const ENTRIES: usize = 5;

/// The signers of a block.
#[derive(Debug)]
pub(crate) enum Signatories<'a> {
    /// The leader.
    Raft { leader: &'a Signer, consenters: u64 },
    /// A quorum, each with its consenter ID.
    Bft(Vec<(u32, &'a Signer)>),
}

/// `etcdraft.BlockMetadata`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct RaftMetadata {
    #[prost(uint64, repeated, tag = "1")]
    consenter_ids: Vec<u64>,
    #[prost(uint64, tag = "2")]
    next_consenter_id: u64,
    #[prost(uint64, tag = "3")]
    raft_index: u64,
}

/// `smartbftprotos.ViewMetadata`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct ViewMetadata {
    #[prost(uint64, tag = "1")]
    view_id: u64,
    #[prost(uint64, tag = "2")]
    latest_sequence: u64,
    #[prost(uint64, tag = "3")]
    decisions_in_view: u64,
}

/// The block that follows `previous`, with these envelopes and empty metadata.
pub(crate) fn next(previous: &BlockHeader, envelopes: Vec<Vec<u8>>) -> Block {
    let header = BlockHeader {
        number: previous.number + 1,
        previous_hash: header_hash(previous).to_vec(),
        data_hash: data_hash(&envelopes).to_vec(),
    };
    let metadata = BlockMetadata { metadata: vec![Vec::new(); ENTRIES] };
    Block { header: Some(header), data: Some(BlockData { data: envelopes }), metadata: Some(metadata) }
}

/// Sets the metadata of a block and signs it.
pub(crate) fn sign(block: &mut Block, last_config: u64, signatories: &Signatories<'_>) -> Result<(), SignerError> {
    let Some(header) = &block.header else { return Ok(()) };
    let header_bytes = header_der(header);
    let last_config = LastConfig { index: last_config };
    let value =
        |consenter_metadata: Vec<u8>| OrdererBlockMetadata { last_config: Some(last_config), consenter_metadata };
    let (value, signatures) = match signatories {
        Signatories::Raft { leader, consenters } => {
            let metadata = RaftMetadata {
                consenter_ids: (1..=*consenters).collect(),
                next_consenter_id: consenters + 1,
                // The index counts raft's entries: those of the elections and the blocks.
                raft_index: header.number + consenters + 1,
            };
            let metadata = Metadata { value: metadata.encode_to_vec(), signatures: Vec::new() };
            let value = value(metadata.encode_to_vec()).encode_to_vec();
            let signature_header = leader.signature_header(&header_bytes)?.encode_to_vec();
            let signature = leader.sign(&[&*value, &signature_header, &header_bytes].concat())?;
            (value, vec![MetadataSignature { signature_header, signature, identifier_header: Vec::new() }])
        }
        Signatories::Bft(quorum) => {
            let metadata =
                ViewMetadata { view_id: 0, latest_sequence: header.number, decisions_in_view: header.number };
            let value = value(metadata.encode_to_vec()).encode_to_vec();
            let mut signatures = Vec::new();
            for (identifier, signer) in quorum {
                let identifier_header =
                    IdentifierHeader { identifier: *identifier, nonce: signer.nonce_of(&header_bytes)? };
                let identifier_header = identifier_header.encode_to_vec();
                let signature = signer.sign(&[&*value, &identifier_header, &header_bytes].concat())?;
                signatures.push(MetadataSignature { signature_header: Vec::new(), signature, identifier_header });
            }
            (value, signatures)
        }
    };
    let metadata = &mut block.metadata.get_or_insert_default().metadata;
    metadata.resize(ENTRIES, Vec::new());
    let entry = |value, signatures| Metadata { value, signatures }.encode_to_vec();
    metadata[BlockMetadataIndex::Signatures as usize] = entry(value, signatures);
    metadata[BlockMetadataIndex::LastConfig as usize] = entry(last_config.encode_to_vec(), Vec::new());
    Ok(())
}

/// The signature metadata of a raft block, signed by `signer` instead. `None` if `signer` has signed it already,
/// or if it has no signature or those of a BFT quorum.
pub(crate) fn sign_as(block: &Block, signer: &Signer) -> Result<Option<Vec<u8>>, SignerError> {
    let (Some(header), Some(metadata)) = (&block.header, &block.metadata) else { return Ok(None) };
    let entry = metadata.metadata.get(BlockMetadataIndex::Signatures as usize);
    let Some(Ok(Metadata { value, signatures })) = entry.map(|entry| Metadata::decode(&**entry)) else {
        return Ok(None);
    };
    let [MetadataSignature { signature_header, .. }] = &signatures[..] else { return Ok(None) };
    let by = SignatureHeader::decode(&**signature_header).unwrap_or_default().creator;
    if by.is_empty() || by == *signer.identity() {
        return Ok(None);
    }
    let header_bytes = header_der(header);
    let signature_header = signer.signature_header(&header_bytes)?.encode_to_vec();
    let signature = signer.sign(&[&*value, &signature_header, &header_bytes].concat())?;
    let signatures = vec![MetadataSignature { signature_header, signature, identifier_header: Vec::new() }];
    Ok(Some(Metadata { value, signatures }.encode_to_vec()))
}

/// Replaces a block's signature metadata.
pub(crate) fn set_signatures(block: &mut Block, entry: Vec<u8>) {
    let metadata = &mut block.metadata.get_or_insert_default().metadata;
    metadata.resize(metadata.len().max(ENTRIES), Vec::new());
    metadata[BlockMetadataIndex::Signatures as usize] = entry;
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::signer::Randomness;

    #[test]
    fn a_block_has_the_previous_hash_and_signatures() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
        let signer = Signer::new("OrdererMSP", "pem", &key, Randomness::new(Some(1))).unwrap();
        let previous = BlockHeader { number: 6, previous_hash: vec![1], data_hash: vec![2] };
        let mut block = next(&previous, vec![vec![1, 2], vec![3]]);
        let header = block.header.clone().unwrap();
        assert_eq!((header.number, header.previous_hash), (7, header_hash(&previous).to_vec()));
        assert_eq!(header.data_hash, Sha256::digest([1, 2, 3]).to_vec());

        let quorum = Signatories::Bft(vec![(1, &signer), (3, &signer)]);
        sign(&mut block, 4, &quorum).unwrap();
        let metadata = &block.metadata.as_ref().unwrap().metadata;
        let signatures = Metadata::decode(&*metadata[0]).unwrap();
        let value = OrdererBlockMetadata::decode(&*signatures.value).unwrap();
        assert_eq!(value.last_config, Some(LastConfig { index: 4 }));
        let numbers = signatures.signatures.iter().map(|s| IdentifierHeader::decode(&*s.identifier_header).unwrap());
        assert_eq!(numbers.map(|header| header.identifier).collect::<Vec<_>>(), [1, 3]);
        let last = Metadata::decode(&*metadata[1]).unwrap();
        assert_eq!(LastConfig::decode(&*last.value).unwrap().index, 4);

        sign(&mut block, 4, &Signatories::Raft { leader: &signer, consenters: 3 }).unwrap();
        let signatures = Metadata::decode(&*block.metadata.as_ref().unwrap().metadata[0]).unwrap();
        let [signature] = &signatures.signatures[..] else { panic!("one signature: {signatures:?}") };
        let header = header_der(block.header.as_ref().unwrap());
        let message = [&*signatures.value, &signature.signature_header, &header].concat();
        // The seeded signer repeats its signatures.
        assert_eq!(signature.signature, signer.sign(&message).unwrap());
    }
}
