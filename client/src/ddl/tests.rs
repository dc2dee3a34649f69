use super::*;

fn column(name: &str, column_type: ColumnType, role: Role, nullable: bool) -> Column {
    Column { name: name.to_owned(), column_type, role, nullable }
}

#[test]
fn reads_every_type_role_and_option() {
    let text = "\u{feff}-- the weather\nCREATE TABLE IF NOT EXISTS weather (
        city TEXT KEY, /* unique */ conditions varchar(20) INDEX NOT NULL,
        id INTEGER PRIMARY KEY, a BIGINT, b INT NULL, c REAL, d DOUBLE PRECISION INDEX, e FLOAT,
        \"index\" JSON, key BOOLEAN NOT NULL, g BOOL, h TIMESTAMP NOT NULL INDEX
    );\n";
    use ColumnType::{Bool, Int, Json, Real, Text, Timestamp};
    use Role::{Index, Key, Payload};
    let schema = parse(text).unwrap().schema;
    assert_eq!(schema.table(), "weather");
    assert_eq!(
        schema.columns(),
        [
            column("city", Text, Key, false),
            column("conditions", Text, Index, false),
            column("id", Int, Key, false),
            column("a", Int, Payload, true),
            column("b", Int, Payload, true),
            column("c", Real, Payload, true),
            column("d", Real, Index, true),
            column("e", Real, Payload, true),
            column("index", Json, Payload, true),
            column("key", Bool, Payload, false),
            column("g", Bool, Payload, true),
            column("h", Timestamp, Index, false),
        ]
    );
}

#[test]
fn a_primary_key_on_a_separate_line_equals_key_at_the_column() {
    let beside = "CREATE TABLE t (id INTEGER KEY, name TEXT)";
    for apart in [
        "CREATE TABLE t (id INTEGER, name TEXT, PRIMARY KEY (id))",
        "CREATE TABLE t (\n  id INTEGER NOT NULL,\n  name TEXT,\n  primary key (\"ID\")\n);",
        "CREATE TABLE t (id INTEGER, name TEXT, CONSTRAINT pk_t PRIMARY KEY (id))",
        "CREATE TABLE t (PRIMARY KEY (id), id INTEGER, name TEXT)",
        "CREATE TABLE t (id INTEGER CONSTRAINT pk_t PRIMARY KEY, name TEXT)",
        "CREATE TABLE t (id INTEGER CONSTRAINT nn NOT NULL PRIMARY KEY, name TEXT)",
    ] {
        assert_eq!(parse(apart), parse(beside), "{apart}");
    }
}

#[test]
fn columns_may_be_named_as_constraints_are() {
    let text = "CREATE TABLE t (check TEXT, unique INT, foreign TEXT, constraint TEXT NOT NULL, \
                key varchar(20) KEY, index INT INDEX, primary BOOL)";
    let schema = parse(text).unwrap().schema;
    let names: Vec<_> = schema.columns().iter().map(|column| column.name.as_str()).collect();
    let expected = ["check", "unique", "foreign", "constraint", "key", "index", "primary"];
    assert_eq!(names, expected);
}

#[test]
fn other_constraints_say_what_to_write() {
    for (constraint, found) in [
        ("PRIMARY KEY (a, b)", "a PRIMARY KEY of several columns: mark each column INDEX"),
        ("CONSTRAINT pk PRIMARY KEY (a,b)", "a PRIMARY KEY of several columns: mark each column"),
        ("UNIQUE (b)", "UNIQUE: write KEY after the column's type; it is unique and searchable"),
        ("CONSTRAINT u UNIQUE (b)", "UNIQUE: write KEY after the column's type"),
        ("FOREIGN KEY (b) REFERENCES u (id)", "FOREIGN KEY: no value is checked against others"),
        ("CONSTRAINT f FOREIGN KEY (b) REFERENCES u", "FOREIGN KEY: no value is checked"),
        ("CHECK (b > 0)", "CHECK: no value is checked against others; leave it out"),
        ("CONSTRAINT c CHECK (b > 0)", "CHECK: no value is checked against others; leave it out"),
        ("INDEX (b)", "a separate line INDEX: write INDEX after the column's type"),
        ("INDEX by_b (b)", "a separate line INDEX: write INDEX after the column's type"),
        ("KEY (b)", "a separate line KEY: write KEY after the column's type"),
        ("UNIQUE KEY by_b (b)", "UNIQUE: write KEY after the column's type"),
    ] {
        let text = format!("CREATE TABLE t (\n a INT KEY,\n b INT,\n {constraint})");
        let error = parse(&text).unwrap_err().to_string();
        let expected = format!("line 4: a table cannot have {found}");
        assert!(error.starts_with(&expected), "{constraint}: {error}");
    }
}

#[test]
fn errors_name_line_and_remedy() {
    for (text, expected) in [
        ("", "line 1: expected CREATE TABLE name (...), found the end of the file"),
        ("DROP TABLE t", "line 1: expected CREATE TABLE name (...), found `DROP`"),
        ("CREATE TABLE t\n(a INT KEY", "line 2: expected , or ), found the end of the file"),
        ("CREATE TABLE t (a INT KEY,)", "line 1: expected a column's name, found `)`"),
        ("CREATE TABLE t (\na INT KEY,\nb)", "line 3: expected a type, found `)`"),
        (
            "CREATE TABLE t (a INT KEY,\n b BLOB)",
            "line 2: column \"b\" has the unknown type BLOB: write INT, REAL, TEXT, JSON, BOOL or \
             TIMESTAMP",
        ),
        (
            "CREATE TABLE t (a INT\nUNIQUE)",
            "line 2: column \"a\" cannot be UNIQUE: write KEY, which is unique and searchable",
        ),
        (
            "CREATE TABLE t (a INT DEFAULT 0)",
            "line 1: column \"a\" cannot be DEFAULT: no value is filled in; leave it out, or fill in the file",
        ),
        (
            "CREATE TABLE t (a INT KEY INDEX)",
            "line 1: column \"a\" cannot be INDEX too: a KEY is searchable already; write one of them",
        ),
        (
            "CREATE TABLE t (a INT INDEX NULL NOT NULL)",
            "line 1: column \"a\" cannot be NULL and NOT NULL: write one of them",
        ),
        ("CREATE TABLE t (a INT KEY,\nb INT,\nA INT)", "line 3: column \"A\" is declared twice"),
        (
            "CREATE TABLE t (\n a INT KEY NULL)",
            "line 2: column \"a\" is a KEY and cannot be NULL: declare it INDEX, or drop NULL",
        ),
        (
            "\nCREATE TABLE t (a INT)",
            "line 2: no column is searchable: mark at least one KEY (unique values) or INDEX",
        ),
        (
            "CREATE TABLE t (a INT KEY);\nCREATE TABLE u (a INT KEY)",
            "line 2: expected the end of the file: one file declares one table, found `CREATE`",
        ),
        (
            "CREATE TABLE t (a INT,\nPRIMARY KEY (b))",
            "line 2: PRIMARY KEY names column \"b\", which the table does not have",
        ),
        (
            "CREATE TABLE t (a INT INDEX,\nPRIMARY KEY (a))",
            "line 2: column \"a\" cannot be PRIMARY KEY too: write KEY or INDEX once",
        ),
        (
            "CREATE TABLE t (\na INT NULL,\nPRIMARY KEY (a))",
            "line 2: column \"a\" is a KEY and cannot be NULL: declare it INDEX, or drop NULL",
        ),
        (
            "CREATE TABLE t (a INT KEY REFERENCES u)",
            "line 1: column \"a\" cannot be REFERENCES: no value is checked against others; leave it out",
        ),
        ("CREATE TABLE t (a INT, PRIMARY KEY (a", "line 1: expected ), found the end of the file"),
        ("CREATE TABLE t (a INT KEY, \"b", "line 1: Expected close delimiter '\"' before EOF."),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text}");
    }
}

#[test]
fn a_column_has_a_name_of_its_own_in_the_file() {
    let declared = parse(
        "CREATE TABLE t (name TEXT FROM \"name.common\" KEY, area REAL INDEX FROM 'Area (km²)', \
         code CHAR(2), kind CHARACTER VARYING (9) FROM kind2, n SMALLINT, m INT(11), \
         at TIMESTAMP WITH TIME ZONE)",
    )
    .unwrap();
    let source = |from: Option<&str>, limit| ColumnSource { from: from.map(str::to_owned), limit };
    assert_eq!(
        declared.columns,
        [
            source(Some("name.common"), None),
            source(Some("Area (km²)"), None),
            source(None, Some(Limit::Characters(2))),
            source(Some("kind2"), Some(Limit::Characters(9))),
            source(None, Some(Limit::Bits16)),
            source(None, None),
            source(None, None),
        ]
    );
    assert_eq!(declared.schema.columns().first().unwrap().role, Role::Key);
    for (text, expected) in [
        ("CREATE TABLE t (a INT KEY FROM 'x' FROM 'y')", "write FROM once"),
        ("CREATE TABLE t (a INT KEY FROM x,\n b INT FROM x)", "line 2: two columns are FROM \"x\""),
        ("CREATE TABLE t (a INT KEY FROM B,\n b INT)", "line 1: two columns are FROM \"B\""),
        ("CREATE TABLE t (a INT KEY FROM)", "expected the name in the file, in quotes"),
        ("CREATE TABLE t (a INT KEY DEFAULT 7)", "no value is filled in"),
        ("CREATE TABLE t (a CHAR(x) KEY)", "expected a whole number"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_declaration_is_printed_as_it_is_read() {
    let text = "CREATE TABLE \"Check\" (
    \"index\" INT KEY, -- 12 ms
    name TEXT INDEX NOT NULL FROM \"a \"\"b\"\",
c\",
    code VARCHAR(2),
    n SMALLINT,
    r REAL,
    j JSON,
    b BOOL INDEX,
    t TIMESTAMP
);
";
    let declared = parse(text).unwrap();
    let comment = |at| (at == 0).then(|| "12\nms".to_owned());
    assert_eq!(declared.to_sql(comment), text);
    assert_eq!(parse(&declared.to_sql(|_| None)), Ok(declared));
}
