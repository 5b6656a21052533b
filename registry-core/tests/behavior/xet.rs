//! Blobs in chunks: what a Xet client sends is verified, owned, shared and read back.

use std::ops::Range;

use bytes::Bytes;
use futures::TryStreamExt;
use registry_core::{ByteRange, Caller, Error, Registry, Role, Sha256Digest, ShardOutcome, XetHash};
use weighhouse_tests::random::Random;
use xet_core_structures::merklehash::{MerkleHash, compute_data_hash, file_hash, xorb_hash};
use xet_core_structures::metadata_shard::MDBShardFileHeader;
use xet_core_structures::metadata_shard::chunk_verification::range_hash_from_chunks;
use xet_core_structures::metadata_shard::file_structs::{
    FileDataSequenceEntry, FileDataSequenceHeader, FileMetadataExt, FileVerificationEntry, MDBFileInfo,
};
use xet_core_structures::metadata_shard::xorb_structs::XorbChunkSequenceHeader;
use xet_core_structures::xorb_object::{CompressionScheme, deserialize_chunks, serialize_chunk};

use crate::support::{World, body, broken_body, commit, on_both_databases, spec};

/// Bytes of a test's chunks.
const CHUNK: usize = 4000;

/// A xorb as a client would send it.
#[derive(Clone)]
struct Packed {
    hash: XetHash,
    bytes: Vec<u8>,
    chunks: Vec<(MerkleHash, u64)>,
}

fn pack(content: &[u8], scheme: CompressionScheme) -> Packed {
    let (mut bytes, mut chunks) = (Vec::new(), Vec::new());
    for chunk in content.chunks(CHUNK) {
        serialize_chunk(chunk, &mut bytes, scheme).unwrap();
        chunks.push((compute_data_hash(chunk), chunk.len() as u64));
    }
    Packed { hash: named(xorb_hash(&chunks)), bytes, chunks }
}

fn named(hash: MerkleHash) -> XetHash {
    hash.hex().parse().unwrap()
}

fn raw(hash: XetHash) -> MerkleHash {
    MerkleHash::from_hex(&hash.to_string()).unwrap()
}

/// Content in which every compression finds something.
fn weights(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..length).map(|i| if i % 2 == 1 { 60 } else { random.next_u64().to_le_bytes()[0] }).collect()
}

/// A file of a shard, true or with lies.
#[derive(Clone)]
struct Described(MDBFileInfo);

impl Described {
    fn hash(&self) -> XetHash {
        named(self.0.metadata.file_hash)
    }
}

/// Describes `content` as these ranges of chunks.
fn describe(content: &[u8], terms: &[(&Packed, Range<u32>)]) -> Described {
    let (mut leaves, mut segments, mut verification) = (Vec::new(), Vec::new(), Vec::new());
    for (xorb, range) in terms {
        let chunks = &xorb.chunks[range.start as usize..range.end as usize];
        let length = u32::try_from(chunks.iter().map(|(_, length)| length).sum::<u64>()).unwrap();
        segments.push(FileDataSequenceEntry::new(raw(xorb.hash), length, range.start, range.end));
        let hashes: Vec<MerkleHash> = chunks.iter().map(|(hash, _)| *hash).collect();
        verification.push(FileVerificationEntry::new(range_hash_from_chunks(&hashes)));
        leaves.extend_from_slice(chunks);
    }
    let digest = MerkleHash::from_hex(Sha256Digest::of(content).as_str()).unwrap();
    Described(MDBFileInfo {
        metadata: FileDataSequenceHeader::new(file_hash(&leaves), segments.len(), true, true),
        segments,
        verification,
        metadata_ext: Some(FileMetadataExt::new(digest)),
    })
}

/// `content` as all chunks of one xorb.
fn describe_whole(content: &[u8], xorb: &Packed) -> Described {
    describe(content, &[(xorb, 0..u32::try_from(xorb.chunks.len()).unwrap())])
}

fn shard(files: &[Described]) -> Bytes {
    let mut bytes = Vec::new();
    MDBShardFileHeader::default().serialize(&mut bytes).unwrap();
    for file in files {
        file.0.serialize(&mut bytes).unwrap();
    }
    FileDataSequenceHeader::bookend().serialize(&mut bytes).unwrap();
    XorbChunkSequenceHeader::bookend().serialize(&mut bytes).unwrap();
    bytes.into()
}

async fn send(registry: &Registry, caller: &Caller, xorb: &Packed) -> Result<bool, Error> {
    registry.put_xorb(caller, "acme", xorb.hash, body(&xorb.bytes)).await
}

async fn record(world: &World, files: &[Described]) -> Result<ShardOutcome, Error> {
    world.registry.put_shard(&world.admin, "acme", shard(files), |_| {}).await
}

async fn read(world: &World, digest: &Sha256Digest, range: Range<usize>) -> Vec<u8> {
    let range = ByteRange { start: range.start as u64, end: range.end as u64 };
    let stream = world.registry.stream_blob(digest, range).await.unwrap();
    stream.map_ok(|piece| piece.to_vec()).try_concat().await.unwrap()
}

/// Two xorbs of different compression and a file that takes their chunks out of order.
struct Sample {
    first: Packed,
    second: Packed,
    content: Vec<u8>,
    file: Described,
}

fn sample() -> Sample {
    let (left, right) = (weights(1, 40 * CHUNK), weights(2, 25 * CHUNK + 17));
    let first = pack(&left, CompressionScheme::ByteGrouping4LZ4);
    let second = pack(&right, CompressionScheme::LZ4);
    let content = [&left[..30 * CHUNK], &right[5 * CHUNK..], &left[2 * CHUNK..3 * CHUNK]].concat();
    let file = describe(&content, &[(&first, 0..30), (&second, 5..26), (&first, 2..3)]);
    Sample { first, second, content, file }
}

/// Sends the sample and commits it to a model's main branch.
async fn stored(world: &World, sample: &Sample) -> Sha256Digest {
    for xorb in [&sample.first, &sample.second] {
        assert!(send(&world.registry, &world.admin, xorb).await.unwrap());
    }
    assert_eq!(record(world, std::slice::from_ref(&sample.file)).await.unwrap(), ShardOutcome::Recorded);
    Sha256Digest::of(&sample.content)
}

/// Every range that differs in where it begins and ends within chunks.
async fn assert_ranges_are_the_plain_bytes(world: &World, digest: &Sha256Digest, content: &[u8]) {
    assert!(read(world, digest, 0..content.len()).await == content);
    let mut random = Random::new(7);
    for _ in 0..60 {
        let start = usize::try_from(random.below(content.len() as u64)).unwrap();
        let length = usize::try_from(random.below(3 * CHUNK as u64)).unwrap();
        let end = (start + length).min(content.len());
        assert!(read(world, digest, start..end).await == content[start..end], "{start}..{end}");
    }
}

on_both_databases! {
    async fn a_file_in_chunks_is_committed_and_read_like_any_other(world: World) {
        let sample = sample();
        let digest = stored(&world, &sample).await;
        let model = world.model("acme/m").await;
        let files = vec![spec("w.bin", &sample.content)];
        world.registry.commit(&world.admin, &model, commit(files)).await.unwrap();
        assert_ranges_are_the_plain_bytes(&world, &digest, &sample.content).await;

        assert_eq!(world.registry.xet_hash(&digest).await.unwrap(), Some(sample.file.hash()));
        assert_eq!(world.registry.presigned_blob(&digest, 60).await.unwrap(), None);
        assert!(world.registry.local_file(&digest).await.unwrap().is_none());
        let reader = world.registry.blob_reader(&digest).await.unwrap();
        let expected = sample.content[CHUNK - 3..CHUNK + 5].to_vec();
        let read = tokio::task::spawn_blocking(move || {
            let mut buffer = [0; 8];
            reader.read_at(CHUNK as u64 - 3, &mut buffer).unwrap();
            buffer.to_vec()
        });
        assert_eq!(read.await.unwrap(), expected);
    }

    async fn a_foreign_xorb_is_refused_exactly_as_a_missing_one(world: World) {
        let sample = sample();
        let stranger = world.member("eve", "other", Role::Writer).await;
        let file = [describe_whole(&weights(1, 40 * CHUNK), &sample.first)];
        let claim = || world.registry.put_shard(&stranger, "other", shard(&file), |_| {});
        let missing = claim().await.unwrap_err().to_string();
        assert!(missing.contains(&sample.first.hash.to_string()), "{missing}");
        stored(&world, &sample).await;
        assert_eq!(claim().await.unwrap_err().to_string(), missing);
        assert!(!world.registry.has_xorb(&stranger, "other", sample.first.hash).await.unwrap());

        // Who sends the bytes has them, and they are stored once.
        let objects = world.objects().len();
        let sent = world.registry.put_xorb(&stranger, "other", sample.first.hash, body(&sample.first.bytes)).await;
        assert!(sent.unwrap());
        assert_eq!(world.objects().len(), objects);
        assert_eq!(claim().await.unwrap(), ShardOutcome::Recorded);
    }

    async fn whoever_writes_in_two_namespaces_need_not_send_chunks_twice(world: World) {
        let sample = sample();
        stored(&world, &sample).await;
        world.member("ada", "acme", Role::Writer).await;
        let ada = world.member("ada", "other", Role::Writer).await;
        let file = [sample.file.clone()];
        world.registry.put_shard(&ada, "other", shard(&file), |_| {}).await.unwrap();
        let only_there = world.member("bob", "other", Role::Writer).await;
        assert!(world.registry.has_xorb(&only_there, "other", sample.second.hash).await.unwrap());
    }

    async fn a_reader_of_the_namespace_sends_nothing(world: World) {
        let sample = sample();
        let reader = world.member("rea", "acme", Role::Reader).await;
        assert!(matches!(send(&world.registry, &reader, &sample.first).await, Err(Error::Forbidden(_))));
        let refused = world.registry.put_shard(&reader, "acme", shard(&[sample.file]), |_| {}).await;
        assert!(matches!(refused, Err(Error::Forbidden(_))));
    }

    async fn bytes_that_are_not_the_named_xorb_leave_nothing(world: World) {
        let xorb = sample().first;
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut lie = xorb.clone();
            change(&mut lie.bytes);
            lie
        };
        let lies = [
            ("nothing", with(&|bytes| bytes.clear())),
            ("a missing end", with(&|bytes| bytes.truncate(bytes.len() - 1))),
            ("a missing chunk", with(&|bytes| {
                let length = 8 + usize::from(bytes[1]) + (usize::from(bytes[2]) << 8);
                bytes.drain(..length);
            })),
            ("a trailing byte", with(&|bytes| bytes.push(0))),
            ("a flipped bit", with(&|bytes| bytes[900] ^= 1)),
            ("a header of a later version", with(&|bytes| bytes[0] = 1)),
            ("a packed length that is too small", with(&|bytes| bytes[1] = bytes[1].wrapping_sub(1))),
            ("a packed length beyond the format", with(&|bytes| bytes[3] = 255)),
            ("a length that is too small", with(&|bytes| bytes[5] -= 1)),
            ("a length that is too large", with(&|bytes| bytes[5] += 1)),
            ("a length beyond the format", with(&|bytes| bytes[7] = 255)),
            ("a compression that does not exist", with(&|bytes| bytes[4] = 7)),
            ("the bytes of another xorb", Packed { bytes: sample().second.bytes, ..xorb.clone() }),
        ];
        for (lie, sent) in lies {
            let refused = send(&world.registry, &world.admin, &sent).await;
            assert!(matches!(refused, Err(Error::Invalid(..))), "{lie}: {refused:?}");
        }
        let broken = world.registry.put_xorb(&world.admin, "acme", xorb.hash, broken_body(&xorb.bytes)).await;
        assert!(broken.is_err());
        assert!(world.objects().is_empty());
        for table in ["xorb", "xorb_grant", "xorb_staging"] {
            assert_eq!(world.count(&format!("SELECT COUNT(*) FROM {table}")).await, 0, "{table}");
        }
    }

    async fn a_small_chunk_that_unpacks_to_a_large_one_is_refused(world: World) {
        let content = vec![0; 128 << 10];
        let mut bytes = Vec::new();
        serialize_chunk(&content, &mut bytes, CompressionScheme::LZ4).unwrap();
        bytes[5..8].copy_from_slice(&[0, 1, 0]);
        let hash = named(xorb_hash(&[(compute_data_hash(&content[..256]), 256)]));
        let refused = world.registry.put_xorb(&world.admin, "acme", hash, body(&bytes)).await;
        assert!(matches!(refused, Err(Error::Invalid(..))), "{refused:?}");
        // As many bytes as the format allows, from a body of a few kilobytes for each of them.
        let many = bytes.repeat(600);
        let refused = world.registry.put_xorb(&world.admin, "acme", hash, body(&many)).await;
        assert!(matches!(refused, Err(Error::Invalid(..))), "{refused:?}");
        assert!(world.objects().is_empty());
    }

    async fn a_shard_whose_files_are_not_what_it_says_records_nothing(world: World) {
        let sample = sample();
        for xorb in [&sample.first, &sample.second] {
            send(&world.registry, &world.admin, xorb).await.unwrap();
        }
        let with = |change: &dyn Fn(&mut MDBFileInfo)| {
            let mut lie = sample.file.clone();
            change(&mut lie.0);
            lie
        };
        let lies = [
            ("another file hash", with(&|file| file.metadata.file_hash = raw(sample.first.hash))),
            ("no SHA-256", with(&|file| {
                file.metadata.file_flags &= !(1 << 30);
                file.metadata_ext = None;
            })),
            ("a term that is too long", with(&|file| file.segments[0].unpacked_segment_bytes += 1)),
            ("chunks that do not exist", with(&|file| file.segments[0].chunk_index_end = 41)),
            ("chunks backwards", with(&|file| file.segments[0].chunk_index_end = 0)),
            ("other chunks", with(&|file| {
                file.segments[0].chunk_index_start += 1;
                file.segments[0].chunk_index_end += 1;
            })),
            ("a proof of other chunks", with(&|file| file.verification[0] = file.verification[2].clone())),
        ];
        for (lie, file) in lies {
            let refused = record(&world, &[file]).await;
            assert!(matches!(refused, Err(Error::Invalid(..))), "{lie}: {refused:?}");
        }
        let wrong_digest = describe(b"other", &[(&sample.first, 0..30)]);
        let refused = record(&world, &[sample.file.clone(), wrong_digest]).await;
        assert!(matches!(refused, Err(Error::DigestMismatch { .. })), "{refused:?}");
        for table in ["blob", "blob_term", "xet_file", "blob_grant"] {
            assert_eq!(world.count(&format!("SELECT COUNT(*) FROM {table}")).await, 0, "{table}");
        }
    }

    async fn damaged_shards_are_refused_and_never_a_fault_of_the_server(world: World) {
        let sample = sample();
        stored(&world, &sample).await;
        let good = shard(&[sample.file, describe_whole(&weights(1, 40 * CHUNK), &sample.first)]);
        let mut random = Random::new(11);
        for round in 0..2000 {
            let mut bytes = good.to_vec();
            for _ in 0..=random.below(3) {
                let position = usize::try_from(random.below(bytes.len() as u64)).unwrap();
                bytes[position] = if random.below(3) == 0 { 255 } else { random.next_u64().to_le_bytes()[0] };
            }
            if random.below(4) == 0 {
                bytes.truncate(usize::try_from(random.below(bytes.len() as u64)).unwrap());
            }
            let outcome = world.registry.put_shard(&world.admin, "acme", bytes.into(), |_| {}).await;
            let named = matches!(
                outcome,
                Ok(_)
                    | Err(Error::Invalid(..)
                        | Error::XorbMissing(_)
                        | Error::DigestMismatch { .. }
                        | Error::TooLarge { .. })
            );
            assert!(named, "round {round}: {outcome:?}");
        }
    }

    async fn a_second_file_that_differs_a_little_stores_its_difference(world: World) {
        let content = weights(3, 100 * CHUNK);
        let first = pack(&content, CompressionScheme::ByteGrouping4LZ4);
        send(&world.registry, &world.admin, &first).await.unwrap();
        record(&world, &[describe_whole(&content, &first)]).await.unwrap();
        let stored = world.count("SELECT CAST(SUM(size) AS BIGINT) FROM xorb").await;

        let changed = weights(4, CHUNK);
        let second = [&content[..50 * CHUNK], &changed, &content[51 * CHUNK..]].concat();
        let difference = pack(&changed, CompressionScheme::ByteGrouping4LZ4);
        send(&world.registry, &world.admin, &difference).await.unwrap();
        let terms = [(&first, 0..50), (&difference, 0..1), (&first, 51..100)];
        record(&world, &[describe(&second, &terms)]).await.unwrap();
        assert!(read(&world, &Sha256Digest::of(&second), 0..second.len()).await == second);
        let added = world.count("SELECT CAST(SUM(size) AS BIGINT) FROM xorb").await - stored;
        assert_eq!(added, i64::try_from(difference.bytes.len()).unwrap());
        assert_eq!(world.objects().len(), 2);
    }

    async fn the_same_again_changes_nothing(world: World) {
        let sample = sample();
        let digest = stored(&world, &sample).await;
        assert!(!send(&world.registry, &world.admin, &sample.first).await.unwrap());
        assert_eq!(record(&world, std::slice::from_ref(&sample.file)).await.unwrap(), ShardOutcome::Present);
        assert_eq!(world.objects().len(), 2);
        assert_ranges_are_the_plain_bytes(&world, &digest, &sample.content).await;
    }

    async fn two_uploads_of_one_xorb_at_once_keep_one_object(world: World) {
        let xorb = sample().first;
        let (left, right) = tokio::join!(
            send(&world.registry, &world.admin, &xorb),
            send(&world.registry, &world.admin, &xorb)
        );
        left.unwrap();
        right.unwrap();
        assert_eq!(world.objects().len(), 1);
        assert_eq!(world.count("SELECT COUNT(*) FROM xorb_staging").await, 0);
    }

    async fn a_blob_that_is_stored_whole_stays_so(world: World) {
        let sample = sample();
        world.upload(&world.admin, "acme", &[("w.bin", &sample.content)]).await;
        let digest = stored(&world, &sample).await;
        assert!(world.registry.local_file(&digest).await.unwrap().is_some());
        assert_eq!(world.registry.xet_hash(&digest).await.unwrap(), None);
        assert!(read(&world, &digest, 0..sample.content.len()).await == sample.content);
    }

    async fn unreferenced_xorbs_stay_for_the_grace_period_and_referenced_ones_for_good(world: World) {
        let sample = sample();
        stored(&world, &sample).await;
        let unused = pack(&weights(9, 3 * CHUNK), CompressionScheme::None);
        send(&world.registry, &world.admin, &unused).await.unwrap();
        assert_eq!(world.registry.sweep_uploads().await.unwrap().xorbs_removed, 0);
        world.execute("UPDATE xorb SET last_used = 0").await;
        assert_eq!(world.registry.sweep_uploads().await.unwrap().xorbs_removed, 1);
        assert_eq!(world.objects().len(), 2);
        assert!(read(&world, &Sha256Digest::of(&sample.content), 0..sample.content.len()).await == sample.content);

        // What was swept counts as never sent.
        let file = [describe_whole(&weights(9, 3 * CHUNK), &unused)];
        assert!(matches!(record(&world, &file).await, Err(Error::XorbMissing(_))));
        assert!(send(&world.registry, &world.admin, &unused).await.unwrap());
        record(&world, &file).await.unwrap();
    }

    async fn asking_for_a_xorb_begins_its_grace_period_again(world: World) {
        let xorb = sample().first;
        send(&world.registry, &world.admin, &xorb).await.unwrap();
        world.execute("UPDATE xorb SET last_used = 0").await;
        assert!(world.registry.has_xorb(&world.admin, "acme", xorb.hash).await.unwrap());
        assert_eq!(world.registry.sweep_uploads().await.unwrap().xorbs_removed, 0);
        record(&world, &[describe_whole(&weights(1, 40 * CHUNK), &xorb)]).await.unwrap();
    }

    async fn what_a_killed_upload_left_is_swept(world: World) {
        let path = world.folder.path().join("objects/blobs/aa/left");
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, b"half a xorb").unwrap();
        let insert = "INSERT INTO xorb_staging (storage_key, expires_at) VALUES ('blobs/aa/left', ";
        world.execute(&format!("{insert}{})", registry_core::now_ms() + 60_000)).await;
        assert_eq!(world.registry.sweep_uploads().await.unwrap().xorbs_removed, 0);
        world.execute("UPDATE xorb_staging SET expires_at = 1").await;
        assert_eq!(world.registry.sweep_uploads().await.unwrap().xorbs_removed, 1);
        assert!(!path.exists());
    }

    async fn a_reconstruction_leads_to_the_bytes_of_its_range(world: World) {
        let sample = sample();
        let digest = stored(&world, &sample).await;
        for range in [0..sample.content.len(), CHUNK + 7..CHUNK + 9, 29 * CHUNK..31 * CHUNK, 49 * CHUNK..51 * CHUNK + 17] {
            let asked = ByteRange { start: range.start as u64, end: range.end as u64 };
            let found = world.registry.reconstruct(&digest, asked).await.unwrap();
            let mut content = Vec::new();
            for term in &found.terms {
                let stream = world.registry.stream_xorb(term.xorb, term.object).await.unwrap();
                let packed: Vec<u8> = stream.map_ok(|piece| piece.to_vec()).try_concat().await.unwrap();
                let (unpacked, chunks) = deserialize_chunks(&mut packed.as_slice()).unwrap();
                assert_eq!(unpacked.len() as u64, term.length);
                assert_eq!(chunks.len() - 1, (term.end_chunk - term.first_chunk) as usize);
                content.extend(unpacked);
            }
            let offset = usize::try_from(found.offset_into_first_range).unwrap();
            assert!(offset < CHUNK && content.len() < offset + range.len() + CHUNK, "{range:?} brought too much");
            assert!(content[offset..offset + range.len()] == sample.content[range.clone()], "{range:?}");
        }
        let nothing = world.registry.reconstruct(&Sha256Digest::of(b"x"), ByteRange { start: 0, end: 1 }).await;
        assert!(matches!(nothing, Err(Error::NotFound(_))));
    }

    async fn progress_is_told_in_order_up_to_the_end(world: World) {
        let sample = sample();
        for xorb in [&sample.first, &sample.second] {
            send(&world.registry, &world.admin, xorb).await.unwrap();
        }
        let told = std::sync::Mutex::new(Vec::new());
        let files = [sample.file.clone()];
        let note = |progress| told.lock().unwrap().push(progress);
        world.registry.put_shard(&world.admin, "acme", shard(&files), note).await.unwrap();
        let told = told.into_inner().unwrap();
        let total = sample.content.len() as u64;
        assert!(told.iter().all(|progress| progress.total == total), "{told:?}");
        assert!(told.is_sorted_by_key(|progress| progress.verified), "{told:?}");
        assert_eq!(told.last().unwrap().verified, total);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_in_chunks_are_read_from_a_bucket_and_large_xorbs_come_in_parts() {
    let Some(world) = World::s3().await else { return };
    let sample = sample();
    let digest = stored(&world, &sample).await;
    assert_ranges_are_the_plain_bytes(&world, &digest, &sample.content).await;

    // Random bytes do not compress: two parts.
    let mut content = Random::new(5).bytes(1 << 20).repeat(18);
    let position = content.len() - 1;
    content[position] ^= 1;
    let large = pack(&content, CompressionScheme::None);
    send(&world.registry, &world.admin, &large).await.unwrap();
    record(&world, &[describe_whole(&content, &large)]).await.unwrap();
    let digest = Sha256Digest::of(&content);
    assert!(read(&world, &digest, 0..content.len()).await == content);
    world.execute("UPDATE xorb SET last_used = 0").await;
    assert_eq!(world.registry.sweep_uploads().await.unwrap().xorbs_removed, 0);
}
