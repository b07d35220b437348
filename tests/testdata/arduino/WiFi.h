#pragma once

#include "Arduino.h"

enum wl_status_t { WL_CONNECTED = 3, WL_DISCONNECTED = 6 };
enum wifi_mode_t { WIFI_STA = 1 };

struct WiFiClass {
  wl_status_t now = WL_DISCONNECTED;

  bool mode(wifi_mode_t) { return true; }
  wl_status_t begin(const char*, const char*) { return now; }
  wl_status_t status() { return now; }
  int8_t RSSI() { return -61; }
};

inline WiFiClass WiFi;
