import gov.nasa.pds.label.Label;
import gov.nasa.pds.label.object.ArrayObject;
import gov.nasa.pds.label.object.DataObject;
import gov.nasa.pds.label.object.FieldDescription;
import gov.nasa.pds.label.object.TableObject;
import gov.nasa.pds.label.object.TableRecord;
import java.io.File;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;

/** Reads every array and table of labels with NASA's pds4-jparser; prints what it read as digests, one line each. */
public final class ReadObjects {
    public static void main(String[] labels) throws Exception {
        for (String path : labels) {
            Label label = Label.open(new File(path));
            for (DataObject object : label.getObjects()) {
                if (object instanceof ArrayObject) {
                    array(path, (ArrayObject) object);
                } else if (object instanceof TableObject) {
                    table(path, (TableObject) object);
                }
            }
            label.close();
        }
    }

    private static void array(String path, ArrayObject array) throws Exception {
        int[] shape = array.getDimensions();
        int[] at = new int[shape.length];
        MessageDigest digest = MessageDigest.getInstance("MD5");
        array.open();
        boolean more = true;
        while (more) {
            number(digest, array.getDouble(at));
            int axis = shape.length - 1;
            while (axis >= 0 && ++at[axis] == shape[axis]) {
                at[axis--] = 0;
            }
            more = axis >= 0;
        }
        array.close();
        say(path, array.getName(), 0, digest);
    }

    private static void table(String path, TableObject table) throws Exception {
        FieldDescription[] fields = table.getFields();
        MessageDigest[] digests = new MessageDigest[fields.length];
        for (int k = 0; k < fields.length; k++) {
            digests[k] = MessageDigest.getInstance("MD5");
        }
        for (TableRecord row = table.readNext(); row != null; row = table.readNext()) {
            for (int k = 0; k < fields.length; k++) {
                String type = String.valueOf(fields[k].getType());
                if (type.startsWith("ASCII") || type.startsWith("UTF8")) {
                    digests[k].update((row.getString(k + 1).strip() + "\n").getBytes(StandardCharsets.UTF_8));
                } else {
                    number(digests[k], row.getDouble(k + 1));
                }
            }
        }
        for (int k = 0; k < fields.length; k++) {
            say(path, fields[k].getName(), k, digests[k]);
        }
    }

    private static void number(MessageDigest digest, double value) {
        digest.update(ByteBuffer.allocate(8).putDouble(value).array());
    }

    private static void say(String path, String name, int place, MessageDigest digest) {
        StringBuilder hex = new StringBuilder();
        for (byte b : digest.digest()) {
            hex.append(String.format("%02x", b));
        }
        System.out.println(path + "\t" + name + "\t" + place + "\t" + hex);
    }
}
