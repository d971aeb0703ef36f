// Azure's clients for Java, unmodified, against vault-emulator. Cases have a name: `test` registers one, `main` runs them all and tells which failed.

import com.azure.core.exception.HttpResponseException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;

final class Harness {
    static final String VAULT = System.getenv("VAULT");
    static final String AUTHORITY = System.getenv("AUTHORITY");
    static final String FIXTURES = System.getenv("FIXTURES");
    static final String TOKEN_FILE = System.getenv("TOKEN_FILE");
    static final String TENANT = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";
    static final String OWNER = "11111111-1111-1111-1111-111111111111";
    static final String STRANGER = "22222222-2222-2222-2222-222222222222";

    interface Body {
        void run() throws Exception;
    }

    private record Case(String name, Body body) {
    }

    private static final List<Case> CASES = new ArrayList<>();

    static void test(String name, Body body) {
        CASES.add(new Case(name, body));
    }

    static void equal(Object found, Object expected) {
        if (!Objects.deepEquals(found, expected)) {
            throw new AssertionError(found + " is not " + expected);
        }
    }

    static void contains(String text, String part) {
        if (!text.contains(part)) {
            throw new AssertionError("\"" + part + "\" is not in \"" + text + "\"");
        }
    }

    /** Fails unless the call throws, with this text in it or in one of its causes. */
    static Throwable fails(String text, Body body) throws Exception {
        try {
            body.run();
        } catch (RuntimeException error) {
            contains(Stream.iterate((Throwable) error, Objects::nonNull, Throwable::getCause).map(Throwable::getMessage).toList().toString(), text);
            return error;
        }
        throw new AssertionError("it did not fail");
    }

    /** Fails unless the call is refused with this status, code and text. */
    static void refused(int status, String code, String text, Body body) throws Exception {
        Throwable thrown = fails(text, body);
        if (!(thrown instanceof HttpResponseException error)) {
            throw new AssertionError("not refused by the vault: " + thrown);
        }
        equal(error.getResponse().getStatusCode(), status);
        contains(error.getMessage(), "\"error\":{\"code\":\"" + code + "\"");
    }

    private static String outcome(Case one) {
        try {
            one.body.run();
            return null;
        } catch (Throwable error) {
            String text = String.valueOf(error.getMessage()).replaceAll("\\s+", " ");
            String place = Arrays.stream(error.getStackTrace()).filter(frame -> frame.getFileName() != null && frame.getFileName().endsWith("Cases.java"))
                .findFirst().map(frame -> frame.getFileName() + ":" + frame.getLineNumber()).orElse("?");
            return "FAILED java " + one.name + ": " + error.getClass().getSimpleName() + ": " + text.substring(0, Math.min(600, text.length())) + " (" + place + ")";
        }
    }

    public static void main(String[] arguments) {
        long start = System.nanoTime();
        IdentityCases.register();
        SecretCases.register();
        KeyCases.register();
        CertificateCases.register();
        int failed = 0;
        for (Case one : CASES) {
            String outcome = outcome(one);
            if (outcome != null) {
                failed += 1;
                System.out.println(outcome);
            }
        }
        System.out.printf("java: %d cases, %d failed, %.1f s%n", CASES.size(), failed, (System.nanoTime() - start) / 1e9);
        System.exit(failed == 0 ? 0 : 1);
    }
}
