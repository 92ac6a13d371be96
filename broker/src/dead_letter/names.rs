//! Names of the headers, stages and reasons: stable words that people filter by.

/// A header name, and whether a value from an earlier failure or a replay stands when the record fails again.
macro_rules! headers {
    ($($(#[$doc:meta])* $name:ident = $text:literal $($kept:ident)?;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*
        /// Every header of a dead letter.
        pub const ALL: &[&str] = &[$($text),*];
        /// Those that a second failure leaves as they are.
        pub const KEPT: &[&str] = &[$($(headers!(@$kept $text),)?)*];
    };
    (@kept $text:literal) => { $text };
}

headers! {
    /// Topic the record stood in.
    TOPIC = "__connect.errors.topic";
    /// Its partition.
    PARTITION = "__connect.errors.partition";
    /// Its offset.
    OFFSET = "__connect.errors.offset";
    /// Connector; `http` for events refused at the API.
    CONNECTOR = "__connect.errors.connector.name";
    /// Number of the task.
    TASK = "__connect.errors.task.id";
    /// [`super::Stage`].
    STAGE = "__connect.errors.stage";
    /// Component that refused it, e.g. `forebay.converter.avro`.
    COMPONENT = "__connect.errors.class.name";
    /// `forebay.errors.<reason>`.
    EXCEPTION = "__connect.errors.exception.class.name";
    /// One sentence, at most [`super::MAX_MESSAGE_BYTES`], no payload.
    MESSAGE = "__connect.errors.exception.message";
    /// The chain of causes, one a line, at most [`super::MAX_TRACE_BYTES`].
    TRACE = "__connect.errors.exception.stacktrace";
    /// Version of these headers: `1`.
    VERSION = "forebay.v";
    /// Cluster the record stood in.
    CLUSTER_ID = "forebay.cluster-id";
    /// Identity of its topic.
    TOPIC_ID = "forebay.topic-id";
    /// Equal for every copy of one failure; see [`super::Origin::dedupe_key`].
    DEDUPE_KEY = "forebay.dedupe-key";
    /// [`super::Reason`].
    REASON = "forebay.reason";
    /// [`super::Reason`] of the first failure, where there was more than one.
    FIRST_REASON = "forebay.first-reason" kept;
    /// JSON array of [`super::ErrorItem`], the first [`super::MAX_ERRORS`].
    ERRORS = "forebay.errors";
    /// Schema the record was written with.
    SCHEMA_ID = "forebay.schema-id";
    /// Its subject.
    SUBJECT = "forebay.subject";
    /// Schema it was read with.
    READER_SCHEMA_ID = "forebay.reader-schema-id";
    /// Where it should have gone: `snowflake:DB.SCHEMA.T`, `s3://bucket/prefix`, `file:` + relative path.
    DESTINATION = "forebay.destination";
    /// Original timestamp, ms.
    TIMESTAMP = "forebay.timestamp";
    /// `create` or `append`.
    TIMESTAMP_TYPE = "forebay.timestamp-type";
    /// First failure, ms; survives replays.
    FIRST_SEEN = "forebay.first-seen" kept;
    /// This failure, ms.
    FAILED_AT = "forebay.failed-at";
    /// How often it was tried, 1 to 5.
    TRIES = "forebay.tries";
    /// How often it was replayed.
    REPLAY_COUNT = "forebay.replay-count" kept;
    /// The last replay, a UUIDv7.
    REPLAY_ID = "forebay.replay-id" kept;
    /// `<dlq topic>/<partition>/<offset>`.
    REPLAYED_FROM = "forebay.replayed-from" kept;
    /// `true` if a replay changed the value.
    PATCHED = "forebay.patched" kept;
    /// SHA-256 of the value before that.
    ORIGINAL_SHA256 = "forebay.original-sha256" kept;
    /// The event's id, from its header `event_id`.
    EVENT_ID = "forebay.event-id";
    /// Trace, from its header `traceparent`.
    TRACE_ID = "forebay.trace-id";
}

/// A fixed set of words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its stable word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// From its stable word.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Where a record failed, in Connect's names.
    Stage {
        /// Key bytes to a row.
        KeyConverter = "KEY_CONVERTER",
        /// Value bytes to a row.
        ValueConverter = "VALUE_CONVERTER",
        /// Header bytes.
        HeaderConverter = "HEADER_CONVERTER",
        /// Row to row.
        Transformation = "TRANSFORMATION",
        /// Into the destination.
        TaskPut = "TASK_PUT",
        /// Out of the log.
        Consume = "CONSUME",
        /// Into the log.
        Produce = "PRODUCE",
        /// Out of a source.
        TaskPoll = "TASK_POLL",
    }
}

words! {
    /// Why a record was refused. Also a metric label.
    Reason {
        /// The value is not what its schema says.
        DecodeFailed = "DECODE_FAILED",
        /// Nor is the key.
        KeyDecodeFailed = "KEY_DECODE_FAILED",
        /// Nor is a header.
        HeaderDecodeFailed = "HEADER_DECODE_FAILED",
        /// The registry does not know its schema id.
        SchemaNotFound = "SCHEMA_NOT_FOUND",
        /// Its schema can't be read with the reader's.
        SchemaIncompatible = "SCHEMA_INCOMPATIBLE",
        /// A field has a type that its column has not.
        TypeMismatch = "TYPE_MISMATCH",
        /// A field must not be null.
        NotNull = "NOT_NULL",
        /// A number or time that its column can't hold.
        OutOfRange = "OUT_OF_RANGE",
        /// Larger than the destination takes.
        TooLarge = "TOO_LARGE",
        /// A tombstone where there must be a value.
        NullValue = "NULL_VALUE",
        /// A transform failed on it.
        TransformFailed = "TRANSFORM_FAILED",
        /// The field that its path is made from is missing.
        PartitionFieldMissing = "PARTITION_FIELD_MISSING",
        /// Its path can't be.
        PathInvalid = "PATH_INVALID",
        /// Two fields want one column.
        ColumnConflict = "COLUMN_CONFLICT",
        /// The destination refused this very record.
        RejectedByDestination = "REJECTED_BY_DESTINATION",
        /// The event breaks its schema (refused at the API).
        ValidationFailed = "VALIDATION_FAILED",
    }
}
