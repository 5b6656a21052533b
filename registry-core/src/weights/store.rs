//! Reading a weight file's tensors once, and keeping them by blob.

use futures::StreamExt;
use sea_orm::sea_query::OnConflict;
use sea_orm::{EntityTrait, Set};
use verifier::format::weights::{TensorDigest, TensorStream, dimensions, tensors};
use verifier::format::{FileEntry, Tensor};

use crate::blob::ByteRange;
use crate::database::begin;
use crate::entity::{blob_tensor, blob_weights};
use crate::error::Result;
use crate::identity::FileSpec;
use crate::registry::Registry;

/// Rows of one insert; SQLite takes some 30,000 values.
const ROWS: usize = 500;
/// Tensors below this size say nothing: the scales of two models can be alike by chance.
const TELLING_BYTES: u64 = 1024;

impl Registry {
    /// Lists and digests the tensors of a file, unless that was done for its bytes before.
    pub(super) async fn read_tensors(&self, file: &FileSpec) -> Result<()> {
        if blob_weights::Entity::find_by_id(file.sha256.as_str()).one(&self.db).await?.is_some() {
            return Ok(());
        }
        let reader = self.blob_reader(&file.sha256).await?;
        let path = file.path.clone();
        let listing = move || tensors(&FileEntry { path: &path, source: reader.as_ref() });
        let listed = tokio::task::spawn_blocking(listing).await??;
        let digests = self.digests(file, &listed).await?;
        let read = listed.into_iter().zip(digests);
        let rows: Vec<blob_tensor::ActiveModel> =
            (0..).zip(read).map(|(position, (tensor, digest))| row(file, position, &tensor, digest)).collect();
        let txn = begin(&self.db).await?;
        let mark = blob_weights::ActiveModel { sha256: Set(file.sha256.to_string()), digested: Set(true) };
        let known = OnConflict::new().do_nothing().to_owned();
        // Somebody else may have read the same bytes meanwhile; theirs are the same rows.
        if blob_weights::Entity::insert(mark).on_conflict(known).exec_without_returning(&txn).await? == 1 {
            for rows in rows.chunks(ROWS) {
                blob_tensor::Entity::insert_many(rows.iter().cloned()).exec_without_returning(&txn).await?;
            }
        }
        txn.commit().await?;
        Ok(())
    }

    /// One pass over the file, as a stream: what is far away comes at the speed of the wire.
    async fn digests(&self, file: &FileSpec, tensors: &[Tensor]) -> Result<Vec<Option<TensorDigest>>> {
        let mut digester = TensorStream::new(tensors, file.size);
        let mut bytes = self.stream_blob(&file.sha256, ByteRange { start: 0, end: file.size }).await?;
        while let Some(piece) = bytes.next().await {
            let piece = piece?;
            // Hashing a piece takes long enough to keep others of this thread waiting.
            let taken = tokio::task::spawn_blocking(move || {
                digester.update(&piece);
                digester
            });
            digester = taken.await?;
        }
        Ok(digester.finish())
    }
}

fn row(file: &FileSpec, position: i64, tensor: &Tensor, digest: Option<TensorDigest>) -> blob_tensor::ActiveModel {
    let telling = tensor.byte_length >= TELLING_BYTES && digest.as_ref().is_some_and(|digest| !digest.constant);
    blob_tensor::ActiveModel {
        sha256: Set(file.sha256.to_string()),
        position: Set(position),
        name: Set(tensor.name.clone()),
        element_type: Set(tensor.element_type.clone().into_owned()),
        shape: Set(dimensions(&tensor.shape)),
        byte_length: Set(i64::try_from(tensor.byte_length).unwrap_or(i64::MAX)),
        digest: Set(digest.map(|digest| digest.sha256)),
        telling: Set(telling),
    }
}
