// Copy this to secrets.h, which git leaves alone, and fill it in.

#define WIFI_SSID "my-network"
#define WIFI_PASSWORD "…"

#define MQTT_HOST "mqtt.example.com" // a name that is in the broker's certificate
#define MQTT_PORT 8883
#define MQTT_PASSWORD "…" // boiler.password of the example mosquitto

// Who it is: the user name, the client ID and the device ID. One for each device.
#define DEVICE_ID "boiler"

// The authority that has signed the broker's certificate: ca.crt of the example mosquitto.
const char authority[] = R"(-----BEGIN CERTIFICATE-----
…
-----END CERTIFICATE-----
)";
