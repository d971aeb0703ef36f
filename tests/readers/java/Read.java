import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Stream;

/** Java's own readers of properties and key stores: {@code java Read.java DIRECTORY}. */
class Read {
    public static void main(String[] arguments) throws Exception {
        Path directory = Path.of(arguments[0]);
        boolean read = properties(directory) & keyStores(directory.resolve("certificates"));
        System.exit(read ? 0 : 1);
    }

    private static List<Path> list(Path directory) throws Exception {
        try (Stream<Path> listed = Files.list(directory)) {
            return listed.sorted().toList();
        }
    }

    private static boolean properties(Path directory) throws Exception {
        List<Path> files = list(directory.resolve("properties"));
        boolean failed = false;
        for (Path file : files) {
            String name = file.getFileName().toString();
            String value = Files.readString(directory.resolve("expected").resolve(name));
            Properties found = new Properties();
            try (Reader reader = Files.newBufferedReader(file, StandardCharsets.ISO_8859_1)) {
                found.load(reader);
            }
            if (!found.equals(Map.of("BEFORE", "before", "KEY", value, "AFTER", "after"))) {
                failed = true;
                System.out.println("Java Properties: properties " + name + ": was read as " + found);
            }
        }
        System.out.println("Java Properties: properties: " + files.size() + " read");
        return !failed;
    }

    private static boolean keyStores(Path directory) throws Exception {
        List<Path> folders = list(directory);
        boolean failed = false;
        for (Path folder : folders) {
            char[] password = Files.readString(folder.resolve("password")).toCharArray();
            KeyStore store = KeyStore.getInstance(folder.resolve("keystore.pfx").toFile(), password);
            String alias = store.aliases().nextElement();
            var chain = new ArrayList<Certificate>();
            try (var pem = Files.newInputStream(folder.resolve("tls.crt"))) {
                chain.addAll(CertificateFactory.getInstance("X.509").generateCertificates(pem));
            }
            if (store.size() != 1 || store.getKey(alias, password) == null || !List.of(store.getCertificateChain(alias)).equals(chain)) {
                failed = true;
                System.out.println("Java KeyStore: " + folder.getFileName() + ": another chain, or no key");
            }
        }
        System.out.println("Java KeyStore: certificates: " + folders.size() + " read");
        return !failed;
    }
}
