// The PostgreSQL JDBC driver against the query server. Arguments: port, CA file. The password is in PGPASSWORD.

import java.io.StringReader;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;
import org.postgresql.PGConnection;

class Jdbc {
    static void check(boolean holds, String what) {
        if (!holds) throw new AssertionError(what);
    }

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.setProperty("user", "premium@example.com");
        properties.setProperty("password", System.getenv("PGPASSWORD"));
        properties.setProperty("sslmode", "verify-ca");
        properties.setProperty("sslrootcert", arguments[1]);
        properties.setProperty("prepareThreshold", "1");
        String url = "jdbc:postgresql://127.0.0.1:" + arguments[0] + "/music";
        // The driver says SET after each login, and all of them share one database session.
        try (Connection connection = DriverManager.getConnection(url, properties);
                Connection other = DriverManager.getConnection(url, properties)) {
            check(other.createStatement().executeQuery("show extra_float_digits").next(), "another connection");
            try (PreparedStatement statement = connection.prepareStatement("select ?::int, count(*) from content")) {
                for (int number = 0; number < 20; number++) {
                    statement.setInt(1, number);
                    ResultSet rows = statement.executeQuery();
                    check(rows.next() && rows.getInt(1) == number && rows.getLong(2) == 10, "a prepared statement");
                }
            }
            connection.setAutoCommit(false);
            try (PreparedStatement insert = connection.prepareStatement("insert into artist (name) values (?)")) {
                for (int number = 0; number < 100; number++) {
                    insert.setString(1, "artist " + number);
                    insert.addBatch();
                }
                check(insert.executeBatch().length == 100, "a batch");
            }
            try (Statement statement = connection.createStatement()) {
                statement.setFetchSize(100);
                ResultSet rows = statement.executeQuery("select i from generate_series(1, 1000) as i");
                long sum = 0;
                while (rows.next()) sum += rows.getLong(1);
                check(sum == 500500, "rows by portal");
            }
            try (Statement statement = connection.createStatement()) {
                statement.setFetchSize(1);
                ResultSet rows = statement.executeQuery(
                    "insert into artist (name) select 'fetched ' || i from generate_series(1, 3) as i returning name");
                check(rows.next(), "the first of three rows");
            }
            connection.commit();
            long copied = connection.unwrap(PGConnection.class).getCopyAPI()
                .copyIn("copy artist (name) from stdin", new StringReader("one\ntwo\nthree\n"));
            check(copied == 3, "a copy");
            connection.rollback();
            connection.setAutoCommit(true);
            try (Statement statement = connection.createStatement()) {
                statement.execute("delete from content");
                throw new AssertionError("premium has deleted");
            } catch (SQLException denied) {
                check(denied.getSQLState().equals("42501"), denied.toString());
            }
            try (Statement statement = connection.createStatement()) {
                statement.setQueryTimeout(1);
                statement.execute("select pg_sleep(20)");
                throw new AssertionError("the time-out did nothing");
            } catch (SQLException cancelled) {
                check(cancelled.getSQLState().equals("57014"), cancelled.toString());
            }
            try (ResultSet tables = connection.getMetaData().getTables(null, "public", "%", new String[] {"TABLE"})) {
                int count = 0;
                while (tables.next()) count++;
                check(count >= 15, "the tables of the catalogue");
            }
            System.out.println("JDBC " + connection.getMetaData().getDriverVersion());
        }
    }
}
