import com.github.shyiko.mysql.binlog.BinaryLogClient;
import com.github.shyiko.mysql.binlog.event.DeleteRowsEventData;
import com.github.shyiko.mysql.binlog.event.Event;
import com.github.shyiko.mysql.binlog.event.EventData;
import com.github.shyiko.mysql.binlog.event.TransactionPayloadEventData;
import com.github.shyiko.mysql.binlog.event.UpdateRowsEventData;
import com.github.shyiko.mysql.binlog.event.WriteRowsEventData;
import io.debezium.embedded.Connect;
import io.debezium.engine.DebeziumEngine;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.storage.MemoryOffsetBackingStore;

/**
 * Java readers to be measured against: {@code Peers connector PORT} or {@code Peers debezium PORT ROWS GTIDS}.
 *
 * <p>Both read the server's binlog from its first file on and print {@code {"rows":N}}. The connector ends with the log;
 * Debezium has no end and stops after ROWS row changes. GTIDS is what stands before the first file.
 */
public final class Peers {
    private static long rows;

    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[1]);
        if (args[0].equals("connector")) {
            connector(port);
        } else {
            debezium(port, Long.parseLong(args[2]), args.length > 3 ? args[3] : "");
        }
        System.out.println("{\"rows\":" + rows + "}");
        System.exit(0);
    }

    private static void connector(int port) throws Exception {
        BinaryLogClient client = new BinaryLogClient("127.0.0.1", port, "phi_repl", "phi_repl");
        client.setBinlogFilename("binlog.000001");
        client.setBinlogPosition(4);
        client.setServerId(40_011);
        client.setBlocking(false);
        client.setKeepAlive(false);
        client.registerEventListener(Peers::count);
        client.connect();
    }

    private static void count(Event event) {
        EventData data = event.getData();
        if (data instanceof WriteRowsEventData written) {
            rows += written.getRows().size();
        } else if (data instanceof UpdateRowsEventData updated) {
            rows += updated.getRows().size();
        } else if (data instanceof DeleteRowsEventData deleted) {
            rows += deleted.getRows().size();
        } else if (data instanceof TransactionPayloadEventData payload) {
            payload.getUncompressedEvents().forEach(Peers::count);
        }
    }

    /** Stands before the first file, as a connector that was set up when the shop was has stored it. */
    public static final class Offsets extends MemoryOffsetBackingStore {
        static String gtids = "";

        @Override
        public void start() {
            super.start();
            data.put(
                    bytes("[\"bench\",{\"server\":\"bench\"}]"),
                    bytes("{\"file\":\"binlog.000001\",\"pos\":4,\"gtids\":\"" + gtids + "\"}"));
        }

        @Override
        public Set<Map<String, Object>> connectorPartitions(String connector) {
            return Set.of();
        }

        private static ByteBuffer bytes(String text) {
            return ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8));
        }
    }

    private static void debezium(int port, long wanted, String gtids) throws Exception {
        Offsets.gtids = gtids;
        Properties settings = new Properties();
        settings.putAll(Map.of(
                "name", "bench",
                "connector.class", "io.debezium.connector.mysql.MySqlConnector",
                "topic.prefix", "bench",
                "database.hostname", "127.0.0.1",
                "database.port", Integer.toString(port),
                "database.user", "phi_admin",
                "database.password", "phi_admin",
                "database.server.id", "40012",
                "database.include.list", "magento",
                "driver.allowPublicKeyRetrieval", "true"));
        settings.putAll(Map.of(
                "database.ssl.mode", "disabled",
                "offset.storage", Offsets.class.getName(),
                "offset.flush.interval.ms", "10000",
                "schema.history.internal", "io.debezium.relational.history.MemorySchemaHistory",
                // The tables' present definitions, and the log from the stored offset on.
                "snapshot.mode", "recovery",
                "snapshot.locking.mode", "none",
                "tombstones.on.delete", "false"));
        CountDownLatch done = new CountDownLatch(1);
        DebeziumEngine<io.debezium.engine.RecordChangeEvent<SourceRecord>> engine = DebeziumEngine
                .create(io.debezium.engine.format.ChangeEventFormat.of(Connect.class))
                .using(settings)
                .using((success, message, error) -> {
                    if (!success) {
                        System.err.println(message);
                        if (error != null) {
                            error.printStackTrace();
                        }
                    }
                    done.countDown();
                })
                .notifying((events, committer) -> {
                    for (var event : events) {
                        if (event.record().topic().startsWith("bench.magento.")) {
                            rows++;
                        }
                        committer.markProcessed(event);
                    }
                    committer.markBatchFinished();
                    if (rows >= wanted) {
                        done.countDown();
                    }
                })
                .build();
        Thread thread = new Thread(engine, "engine");
        thread.setDaemon(true);
        thread.start();
        done.await();
        if (rows < wanted) {
            System.exit(1);
        }
    }

    private Peers() {}
}
