//! Columns and rows as the protocol carries them, read in place.

/// A column of a result.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) type_oid: u32,
}

impl Column {
    /// A column that this program made, not the server.
    pub(crate) fn text(name: &str) -> Self {
        Self { name: name.to_owned(), type_oid: 25 }
    }

    /// psql's rule (`column_type_alignment`): numbers, object and transaction identifiers, money.
    pub(crate) fn is_right_aligned(&self) -> bool {
        matches!(self.type_oid, 20 | 21 | 23 | 26 | 28 | 29 | 700 | 701 | 790 | 1700 | 5069)
    }
}

/// Reads the body of a RowDescription; `None` if it is not one.
pub(crate) fn columns(body: &[u8]) -> Option<Vec<Column>> {
    let (count, mut rest) = body.split_first_chunk()?;
    let count = u16::from_be_bytes(*count);
    let mut columns = Vec::with_capacity(count.into());
    for _ in 0..count {
        let end = rest.iter().position(|byte| *byte == 0)?;
        let name = String::from_utf8_lossy(&rest[..end]).into_owned();
        // After the name: table oid (4), column number (2), type oid (4), length (2), modifier (4), format (2).
        let (fixed, next) = rest[end + 1..].split_first_chunk::<18>()?;
        let type_oid = u32::from_be_bytes([fixed[6], fixed[7], fixed[8], fixed[9]]);
        columns.push(Column { name, type_oid });
        rest = next;
    }
    Some(columns)
}

/// The body of a DataRow with these cells.
pub(crate) fn encode(cells: &[Option<String>]) -> Vec<u8> {
    let mut body = (cells.len() as u16).to_be_bytes().to_vec();
    for cell in cells {
        let length = cell.as_ref().map_or(-1, |cell| cell.len() as i32);
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(cell.as_deref().unwrap_or_default().as_bytes());
    }
    body
}

/// Where the cells of the row at hand are; kept between rows so that none allocates.
#[derive(Default)]
pub(crate) struct RowBuffer {
    cells: Vec<Option<(u32, u32)>>,
}

/// One row: the cells are slices of the read buffer.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) body: &'a [u8],
    cells: &'a [Option<(u32, u32)>],
}

impl RowBuffer {
    /// Reads the body of a DataRow of `columns` cells; `None` if it is not one.
    pub(crate) fn read<'a>(&'a mut self, body: &'a [u8], columns: usize) -> Option<Row<'a>> {
        self.cells.clear();
        let count = usize::from(u16::from_be_bytes(*body.first_chunk()?));
        let mut at: usize = 2;
        for _ in 0..count {
            let length = i32::from_be_bytes(*body.get(at..)?.first_chunk()?);
            at += 4;
            self.cells.push(match usize::try_from(length) {
                Ok(length) => {
                    let end = at.checked_add(length).filter(|end| *end <= body.len())?;
                    let cell = (at as u32, end as u32);
                    at = end;
                    Some(cell)
                }
                Err(_) => None,
            });
        }
        (count == columns).then_some(Row { body, cells: &self.cells })
    }
}

impl<'a> Row<'a> {
    /// The text of each cell; `None` is NULL.
    pub(crate) fn cells(&self) -> impl Iterator<Item = Option<&'a [u8]>> + use<'a> {
        let body = self.body;
        self.cells.iter().map(move |cell| cell.map(|(start, end)| &body[start as usize..end as usize]))
    }
}
