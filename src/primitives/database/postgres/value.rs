//! Values between a script and PostgreSQL: parameters in, cells out.

use std::error::Error as StdError;

use postgres::Row;
use postgres::types::{Format, FromSql, IsNull, ToSql, Type, private::BytesMut};
use rhai::{Array, Dynamic, Map};

use crate::clients::postgres::failure;
use crate::error::Error;
use crate::primitives::local::secrets::StoredSecret;
use crate::secret::Secret;

/// A value of a script on its way into a statement, in PostgreSQL's text format, which fits every type.
#[derive(Debug)]
pub(super) struct Parameter(Option<String>);

impl Parameter {
    /// The values of a list, in its order.
    pub(super) fn all(values: Array) -> Result<Vec<Self>, Error> {
        values.into_iter().enumerate().map(|(index, value)| Self::from(index, value)).collect()
    }

    fn from(index: usize, value: Dynamic) -> Result<Self, Error> {
        if value.is_unit() {
            return Ok(Parameter(None));
        }
        if let Some(secret) = value.read_lock::<Secret>() {
            return Ok(Parameter(Some(secret.expose().to_owned())));
        }
        if let Some(secret) = value.read_lock::<StoredSecret>() {
            return Ok(Parameter(Some(secret.value.expose().to_owned())));
        }
        if value.is_string() || value.is_int() || value.is_float() || value.is_bool() {
            return Ok(Parameter(Some(value.to_string())));
        }
        Err(Error::invalid(format!("parameter ${} is neither text, number, bool, secret nor ()", index + 1)))
    }
}

impl ToSql for Parameter {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match &self.0 {
            None => Ok(IsNull::Yes),
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        self.to_sql(ty, out)
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }
}

/// A row as a map, by the names of its columns.
pub(super) fn row(row: &Row) -> Result<Dynamic, Error> {
    let mut map = Map::new();
    for (index, column) in row.columns().iter().enumerate() {
        map.insert(column.name().into(), cell(row, index, column.type_())?);
    }
    Ok(map.into())
}

fn cell(row: &Row, index: usize, ty: &Type) -> Result<Dynamic, Error> {
    fn read<'a, T: FromSql<'a>>(
        row: &'a Row,
        index: usize,
        into: impl Fn(T) -> Dynamic,
    ) -> Result<Dynamic, Error> {
        let value: Option<T> = row.try_get(index).map_err(|error| failure("query", &error))?;
        Ok(value.map_or(Dynamic::UNIT, into))
    }
    match *ty {
        Type::BOOL => read::<bool>(row, index, Dynamic::from),
        Type::INT2 => read::<i16>(row, index, |value| i64::from(value).into()),
        Type::INT4 => read::<i32>(row, index, |value| i64::from(value).into()),
        Type::INT8 => read::<i64>(row, index, Dynamic::from),
        Type::OID => read::<u32>(row, index, |value| i64::from(value).into()),
        Type::FLOAT4 => read::<f32>(row, index, |value| f64::from(value).into()),
        Type::FLOAT8 => read::<f64>(row, index, Dynamic::from),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => {
            read::<String>(row, index, Dynamic::from)
        }
        _ => Err(Error::invalid(format!("the column `{}` has the type {ty}", row.columns()[index].name()))
            .of("postgres", "query")
            .help("convert it in the query: `column::text`")),
    }
}
