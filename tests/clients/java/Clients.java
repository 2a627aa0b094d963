// Clients.java URL - the JDBC driver: prepared statements, batches, cursors, cancelling, timeouts, COPY, notifications

import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.time.LocalDate;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.PGStatement;
import org.postgresql.copy.CopyManager;

public class Clients {
    static final int ROWS = 100_000, SOON_MS = 20_000;
    static String url;

    static void check(boolean holds, String what) {
        if (!holds)
            throw new AssertionError(what);
    }

    static void fails(String state, Callable<?> action) throws Exception {
        try {
            action.call();
        } catch (SQLException e) {
            check(state.equals(e.getSQLState()), "SQLSTATE " + e.getSQLState() + ", not " + state + ": " + e);
            return;
        }
        throw new AssertionError("it did not fail with " + state);
    }

    static long number(Connection c, String query) throws SQLException {
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery(query)) {
            r.next();
            return r.getLong(1);
        }
    }

    static void values(Connection c) throws Exception {
        String query = "select ?::int8, ?::numeric, ?::text, ?::date, ?::timestamptz, ?::uuid, ?::bytea, ?::int[], ?::float8";
        UUID uuid = UUID.randomUUID();
        OffsetDateTime now = OffsetDateTime.parse("2024-02-29T12:34:56.789012Z");
        try (PreparedStatement s = c.prepareStatement(query)) {
            boolean server = false;
            for (int i = 0; i < 10; i++) { // from the fifth on it is prepared in the server, with binary results
                s.setLong(1, 1L << 40);
                s.setBigDecimal(2, new BigDecimal("12345678901234567890.50"));
                s.setString(3, "ü'\\");
                s.setObject(4, LocalDate.of(2024, 2, 29));
                s.setObject(5, now);
                s.setObject(6, uuid);
                s.setBytes(7, new byte[] {0, -1});
                s.setArray(8, c.createArrayOf("int4", new Integer[] {1, null, 3}));
                s.setDouble(9, Math.PI);
                try (ResultSet r = s.executeQuery()) {
                    check(r.next() && r.getLong(1) == 1L << 40, "int8");
                    check(r.getBigDecimal(2).equals(new BigDecimal("12345678901234567890.50")), "numeric");
                    check(r.getString(3).equals("ü'\\"), "text");
                    check(r.getObject(4, LocalDate.class).equals(LocalDate.of(2024, 2, 29)), "date");
                    check(r.getObject(5, OffsetDateTime.class).isEqual(now), "timestamptz");
                    check(r.getObject(6).equals(uuid), "uuid");
                    check(Arrays.equals(r.getBytes(7), new byte[] {0, -1}), "bytea");
                    check(Arrays.equals((Integer[]) r.getArray(8).getArray(), new Integer[] {1, null, 3}), "array");
                    check(r.getDouble(9) == Math.PI, "float8");
                }
                server = s.unwrap(PGStatement.class).isUseServerPrepare();
            }
            check(server, "prepared in the server");
        }
    }

    static void batchesAndCursors(Connection c) throws Exception {
        try (Statement s = c.createStatement()) {
            s.execute("drop table if exists items; create table items (id serial primary key, name text unique, n int)");
        }
        c.setAutoCommit(false);
        try (PreparedStatement s = c.prepareStatement("insert into items (name, n) values (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
            for (int i = 0; i < 5000; i++) {
                s.setString(1, "item " + i);
                s.setInt(2, i);
                s.addBatch();
            }
            check(Arrays.stream(s.executeBatch()).sum() == 5000, "batch");
            try (ResultSet keys = s.getGeneratedKeys()) {
                int n = 0;
                while (keys.next())
                    check(keys.getInt("id") == ++n, "generated keys");
                check(n == 5000, "all keys");
            }
        }
        c.commit();
        Savepoint p = c.setSavepoint();
        fails("23505", () -> c.createStatement().executeUpdate("insert into items (name) values ('item 7')"));
        fails("25P02", () -> number(c, "select 1"));
        c.rollback(p);
        check(number(c, "select count(*) from items") == 5000, "after the savepoint");
        try (Statement s = c.createStatement()) {
            s.setFetchSize(1000); // a portal in the server
            long sum = 0;
            try (ResultSet r = s.executeQuery("select g from generate_series(1, " + ROWS + ") g")) {
                while (r.next())
                    sum += r.getInt(1);
            }
            check(sum == (long) ROWS * (ROWS + 1) / 2, "in portions");
        }
        c.commit();
        c.setAutoCommit(true);
        try (ResultSet r = c.getMetaData().getColumns(null, "public", "items", null)) {
            List<String> names = new ArrayList<>();
            while (r.next())
                names.add(r.getString("COLUMN_NAME") + " " + r.getString("TYPE_NAME"));
            check(names.equals(List.of("id serial", "name text", "n int4")), names.toString());
        }
    }

    static void cancelling(Connection c) throws Exception {
        try (Statement s = c.createStatement()) {
            AtomicBoolean done = new AtomicBoolean();
            Thread canceller = new Thread(() -> {
                while (!done.get()) { // one that comes before the query has begun is lost
                    try {
                        Thread.sleep(50);
                        s.cancel();
                    } catch (Exception e) {
                        throw new RuntimeException(e);
                    }
                }
            });
            canceller.start();
            fails("57014", () -> s.executeQuery("select pg_sleep(1000)"));
            done.set(true);
            canceller.join();
        }
        try (PreparedStatement s = c.prepareStatement("select count(*) from generate_series(1, 1000000000000)")) {
            s.setQueryTimeout(1);
            for (int i = 0; i < 2; i++)
                fails("57014", s::executeQuery);
        }
        check(number(c, "select 42") == 42, "after the timeouts");
        c.setNetworkTimeout(Runnable::run, 500);
        fails("08006", () -> number(c, "select 1 from pg_sleep(1000)"));
        check(c.isClosed(), "the connection is given up");
    }

    static void copying(Connection c) throws Exception {
        CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < ROWS; i++)
            lines.append(i).append('\t').append("w".repeat(100)).append('\n');
        try (Statement s = c.createStatement()) {
            s.execute("create temp table c (id int, t text)");
        }
        check(copy.copyIn("copy c from stdin", new StringReader(lines.toString())) == ROWS, "rows in");
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        check(copy.copyOut("copy c to stdout", out) == ROWS, "rows out");
        check(out.toString(StandardCharsets.UTF_8).contentEquals(lines), "the same bytes");
        fails("22P02", () -> copy.copyIn("copy c from stdin", new StringReader("x\ty\n")));
        check(number(c, "select count(*) from c") == ROWS, "after the failed COPY");
    }

    static void notifications(Connection c) throws Exception {
        try (Statement s = c.createStatement(); Connection other = DriverManager.getConnection(url)) {
            s.execute("listen news");
            number(other, "select 1 from pg_notify('news', 'from java')");
            PGNotification[] heard = c.unwrap(PGConnection.class).getNotifications(SOON_MS);
            check(heard.length == 1 && heard[0].getParameter().equals("from java"), "notification");
        }
    }

    static void threads() throws Exception {
        int n = 20;
        CountDownLatch connected = new CountDownLatch(n);
        ExecutorService pool = Executors.newFixedThreadPool(n);
        List<Future<Long>> all = new ArrayList<>();
        for (int t = 0; t < n; t++)
            all.add(pool.submit(() -> {
                try (Connection c = DriverManager.getConnection(url)) {
                    connected.countDown();
                    connected.await();
                    try (PreparedStatement s = c.prepareStatement("update items set n = n + 1 where id = 1 + ? % 3")) {
                        for (int i = 0; i < 50; i++) {
                            s.setInt(1, i);
                            check(s.executeUpdate() == 1, "updated");
                        }
                    }
                    return number(c, "select pg_backend_pid()");
                }
            }));
        long pids = 0;
        for (Future<Long> f : all)
            pids += f.get() > 0 ? 1 : 0;
        pool.shutdown();
        check(pids == n, "threads");
        try (Connection c = DriverManager.getConnection(url)) {
            check(number(c, "select sum(n) from items where id <= 3") == 0 + 1 + 2 + 50 * n, "sums");
        }
    }

    public static void main(String[] args) throws Exception {
        url = args[0];
        try (Connection c = DriverManager.getConnection(url)) {
            check(number(c, "select ssl::int from pg_stat_ssl where pid = pg_backend_pid()") == 1, "TLS");
            values(c);
            batchesAndCursors(c);
            copying(c);
            notifications(c);
            threads();
            cancelling(c);
        }
        fails("08006", () -> DriverManager.getConnection(url.replace("//localhost", "//127.0.0.1")));
        fails("28P01", () -> DriverManager.getConnection(url.replace("password=", "password=x")));
    }
}
